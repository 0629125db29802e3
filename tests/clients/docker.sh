#!/usr/bin/env bash
# Puts Docker's client and its Compose plugin, as Debian's newest suite has them, into DIR: DIR/docker, DIR/cli-plugins.
# Usage: tests/clients/docker.sh DIR     Needs apt; nothing of the host is changed.
set -euo pipefail
dir=$(mkdir -p "$1" && readlink -f "$1")
[ -x "$dir/docker" ] && [ -x "$dir/cli-plugins/docker-compose" ] && exit 0
apt=$dir/apt
mkdir -p "$apt"/{lists/partial,archives/partial}
# The mirror that this machine already uses.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/?$/ && !m {m=$0} END {print m}')
echo "deb [trusted=yes] $mirror sid main" > "$apt/sources.list"
own=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::Lists=$apt/lists"
  -o "Dir::Cache=$apt" -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
apt-get "${own[@]}" update -q >/dev/null
cd "$apt"
apt-get "${own[@]}" download -q docker-cli docker-compose >/dev/null
for package in ./*.deb; do dpkg -x "$package" tree; done
mkdir -p "$dir/cli-plugins"
cp tree/usr/libexec/docker/cli-plugins/docker-compose "$dir/cli-plugins/"
cp tree/usr/bin/docker "$dir/docker"
rm -rf "$apt"
"$dir/docker" --version
