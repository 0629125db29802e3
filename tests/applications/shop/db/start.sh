#!/bin/sh
# Makes the database at the first start, then becomes the server.
set -eu
chown postgres /data
if [ ! -s /data/main/PG_VERSION ]; then
  install -m 600 -o postgres "$PASSWORD_FILE" /tmp/password
  setpriv --reuid postgres --regid postgres --init-groups \
    initdb -D /data/main --username shop --pwfile /tmp/password --auth scram-sha-256 --no-sync > /dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >> /data/main/pg_hba.conf
  echo "CREATE DATABASE shop;" | setpriv --reuid postgres --regid postgres --init-groups postgres --single -D /data/main postgres > /dev/null
fi
exec setpriv --reuid postgres --regid postgres --init-groups postgres -D /data/main -c listen_addresses='*' -c unix_socket_directories=/tmp
