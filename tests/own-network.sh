#!/usr/bin/env bash
# Runs a command in a network namespace of its own, as root: a Docker on the same host drops what its own rules do not know,
# also between containers of one bridge of ours.
# Usage: tests/own-network.sh COMMAND [ARGUMENT...]
set -euo pipefail
if [ "$(id -u)" -ne 0 ]; then exec "$@"; fi
exec unshare --net --mount --propagation private bash -c '
  set -e
  ip link set lo up
  echo 1 > /proc/sys/net/ipv4/ip_forward
  # The sysfs of the namespace, with the cgroups of before.
  kept=$(mktemp -d); mount --rbind /sys/fs/cgroup "$kept"
  mount -t sysfs sysfs /sys; mount --rbind "$kept" /sys/fs/cgroup
  umount -l "$kept"; rmdir "$kept"
  exec "$@"' own-network "$@"
