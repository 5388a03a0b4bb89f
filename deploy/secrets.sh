#!/bin/sh
# Makes the secrets of docker-compose.yaml in DIRECTORY, those that are not there yet. Tokens, and the key-encryption
# key, come from `governance`: docs/operating.md.
set -eu
directory=${1:-deploy/secrets}
mkdir -p "$directory"
cd "$directory"
umask 077

random() { openssl rand -base64 48 | tr -d '\n/+='; }
make() { [ -s "$1" ] || cat > "$1"; }

for name in api_secret jwt_secret postgres_airflow postgres_governance postgres_superuser redis_password; do
  random | make "$name"
done
openssl rand -base64 32 | tr '+/' '-_' | tr -d '\n' | make fernet_key
for name in airflow governance; do
  printf 'postgres:5432:%s:%s:%s\n' "$name" "$name" "$(cat "postgres_$name")" | make "${name}_pgpass"
done
printf 'requirepass %s\nsave ""\nappendonly no\n' "$(cat redis_password)" | make redis_conf
printf 'redis://:%s@redis:6379/0' "$(cat redis_password)" | make redis_url
printf '{"admin": "%s"}\n' "$(random)" | make passwords.json
if [ ! -s tls_cert ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=governance \
    -addext "subjectAltName=DNS:lineage,DNS:signer,DNS:localhost" \
    -addext "basicConstraints=critical,CA:TRUE" -keyout tls_key -out tls_cert 2>/dev/null
fi
[ -s tls_ca ] || cp tls_cert tls_ca
