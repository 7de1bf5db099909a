#!/bin/sh
# Is every release below /models what was published? Triton's C++ ONNX Runtime backend looks at no checksum, so a pod
# that would serve a damaged or half copied twin ends here, before it has taken the place of one that is well.
set -eu
models="${UNDERSTUDY_MODELS:-/models}"
found=0
for sums in "${models}"/*/*/SHA256SUMS; do
    [ -e "${sums}" ] || continue
    (cd "${sums%/*}" && sha256sum --check --strict --quiet SHA256SUMS)
    found=$((found + 1))
done
if [ "${found}" -eq 0 ]; then
    echo "intact.sh: expected releases with SHA256SUMS below ${models}, found none" >&2
    exit 1
fi
echo "intact: ${found} versions"
