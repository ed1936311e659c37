#!/usr/bin/env bash
# Runs a command as one rank on each of two network namespaces that a link of so many Mbit/s joins: what MPI takes for two hosts.
#
#   bash tests/bench/two_hosts.sh [--mbit 1000] COMMAND ARGUMENTS…        (as root; needs ip and tc)
#
# For example, how much of the sums a step hides, and how long they take by themselves:
#   bash tests/bench/two_hosts.sh build/release/bin/muster bench step --options '{hidden: [2048, 2048]}' --rows 1024 --steps 20
#   bash tests/bench/two_hosts.sh build/release/bin/muster bench allreduce --bytes 24MiB
set -euo pipefail
mbit=1000
if [ "${1:-}" = --mbit ]; then
  mbit=$2
  shift 2
fi
[ $# -gt 0 ] || { sed -n '2,8p' "$0" >&2; exit 64; }
readonly kName=muster-bench-$$
scratch=$(mktemp -d)
clean() {
  ip netns del $kName-1 2>/dev/null || true
  ip netns del $kName-2 2>/dev/null || true
  rm -rf "$scratch"
}
trap clean EXIT

ip netns add $kName-1
ip netns add $kName-2
ip link add v1 netns $kName-1 type veth peer name v2 netns $kName-2
for host in 1 2; do
  ip -n $kName-$host addr add 10.77.77.$host/24 dev v$host
  ip -n $kName-$host link set v$host up
  ip -n $kName-$host link set lo up
  ip netns exec $kName-$host tc qdisc add dev v$host root tbf rate "${mbit}mbit" burst 256kb latency 50ms
done
# What mpirun takes for ssh: HOST COMMAND… With processes of its own, or Muster would share memory with the other host's.
cat >"$scratch/agent" <<AGENT
#!/usr/bin/env bash
host=\$1
shift
exec ip netns exec $kName-\${host##*.} unshare --pid --fork --mount-proc bash -c "\$*"
AGENT
chmod +x "$scratch/agent"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
ip netns exec $kName-1 mpirun -np 2 -H 10.77.77.1:1,10.77.77.2:1 --bind-to none --mca plm_rsh_agent "$scratch/agent" \
  --mca btl tcp,self --mca btl_tcp_if_include 10.77.77.0/24 --mca oob_tcp_if_include 10.77.77.0/24 --mca pml ob1 \
  --leave-session-attached   -wdir "$PWD" "$@"
