#!/bin/sh
# Start Triton in the container: every model of the repository, and what changes the server behind a key.
# Further arguments go to tritonserver as they are; they come last, so that they win.
set -eu

repository="${UNDERSTUDY_MODELS:-/models}"
key="${UNDERSTUDY_CONTROL_KEY:-}"
if [ "${#key}" -lt 16 ]; then
    echo "serve.sh: UNDERSTUDY_CONTROL_KEY has ${#key} characters, expected at least 16; it guards loading and" \
        "unloading of models, which runs code: set it to a secret of your own, for example from 'openssl rand -hex 32'" >&2
    exit 2
fi

# As serving/launch.py has it for a system's Triton: without a GPU its metrics are only a complaint in the log.
gpu_metrics=false
if [ -e /dev/nvidiactl ]; then
    gpu_metrics=true
fi

# Reading a model's configuration stays open: clients need it to split batches.
guarded="model-repository,shared-memory,trace,logging:understudy-control=${key}"

# Over TLS, gRPC alone is open to callers: Triton speaks HTTP in the clear, so that stays in the container, where the
# health check asks. Metrics follow the address of HTTP unless they have their own, and Prometheus asks from outside.
tls="${UNDERSTUDY_TLS:-}"
if [ -n "${tls}" ]; then
    for file in server.crt server.key; do
        if [ ! -r "${tls}/${file}" ]; then
            echo "serve.sh: ${tls}/${file} is not there, or not to be read by user $(id -u); UNDERSTUDY_TLS names the" \
                "folder with server.crt and server.key, both PEM" >&2
            exit 2
        fi
    done
    set -- --grpc-use-ssl=true --grpc-server-cert="${tls}/server.crt" --grpc-server-key="${tls}/server.key" \
        --http-address=127.0.0.1 --metrics-address=0.0.0.0 "$@"
fi

# As serving/launcher.py has it: each connection is an open file, and an engine may begin with 1024.
soft="$(ulimit -S -n)"
files="$(ulimit -H -n)"
if [ "${files}" = unlimited ] || [ "${files}" -gt 65536 ]; then
    files=65536
fi
if [ "${soft}" != unlimited ] && [ "${soft}" -lt "${files}" ]; then
    ulimit -S -n "${files}"
fi

# Readiness, drain and the Python backend's threads are those of serving/command.py, where the reasons stand, and its
# shared memory is what serving/shared_memory.py gives where 4 GiB are free. A model that does not load must not keep the
# others from serving: its hybrid answers with the other twin.
exec tritonserver \
    --model-repository="${repository}" \
    --model-control-mode=explicit \
    --load-model='*' \
    --exit-on-error=false \
    --strict-readiness=false \
    --exit-timeout-secs=30 \
    --http-restricted-api="${guarded}" \
    --grpc-restricted-protocol="${guarded}" \
    --allow-gpu-metrics="${gpu_metrics}" \
    --backend-config=python,shm-default-byte-size=67108864 \
    --backend-config=python,shm-growth-byte-size=33554432 \
    --backend-config=python,thread-pool-size=128 \
    "$@"
