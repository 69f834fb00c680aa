#!/bin/sh
# Makes the passwords, tokens, and keys that compose.yaml names, in ./secrets. Existing files stay as they are.
#
# Your own keys at the providers go to secrets/antom_key (PEM or base64) and secrets/omise_key (skey_…): empty files until then.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
new() { [ -s "secrets/$1" ] || cat >"secrets/$1"; }
hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

hex 24 | new rabbitmq_password
hex 24 | new postgres_password
hex 24 | new console_token
head -c 32 /dev/urandom | base64 | new tokens_key
printf 'amqp://payhook:%s@rabbitmq:5672/payhook' "$(cat secrets/rabbitmq_password)" | new queue_url
printf 'postgres://payhook:%s@postgres:5432/payhook' "$(cat secrets/postgres_password)" | new store_url
printf 'default_pass = %s\n' "$(cat secrets/rabbitmq_password)" | new rabbitmq.conf
touch secrets/antom_key secrets/omise_key
# The containers run as other users, so the files are readable; the folder lets nobody else of this machine in.
chmod 700 secrets
chmod 644 secrets/*
echo "secrets are in $(pwd)/secrets"
