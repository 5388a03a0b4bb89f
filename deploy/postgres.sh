#!/bin/sh
# Two databases with an owner each, once, when the server's volume is empty.
set -eu
for name in airflow governance; do
  password=$(cat "/run/secrets/postgres_$name")
  psql --username "$POSTGRES_USER" --set ON_ERROR_STOP=1 --set password="$password" --set name="$name" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
