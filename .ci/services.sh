#!/usr/bin/env bash
# Install what the integration tests start by themselves: a PostgreSQL server, from Debian's packages.
set -euo pipefail
compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq postgresql > /dev/null
