#!/bin/sh
# Start Grafana in its container, with a password of the operator's own: an empty one would leave the image's admin/admin.
# Compose cannot ask for it (`:?`), or whoever runs the server alone would have to set it too.
set -eu

password="${GF_SECURITY_ADMIN_PASSWORD:-}"
if [ "${#password}" -lt 12 ]; then
    echo "start.sh: UNDERSTUDY_GRAFANA_PASSWORD has ${#password} characters, expected at least 12; it is the password of" \
        "Grafana's user admin: set it to one of your own, for example from 'openssl rand -hex 16'" >&2
    exit 2
fi
exec /run.sh "$@"
