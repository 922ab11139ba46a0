#!/bin/bash
# Pretraining on a Slurm cluster, from the first step to the last, without anybody watching:
#
#   sbatch examples/cluster/slurm.sh configs/pretrain/82B.toml layout.tp=8 layout.pp=8
#
# Run it where the configuration's paths mean something, on a file system that all nodes share.
# Quarter of an hour before the time limit the run is asked to stop; it saves, and the job goes back
# into the queue and on from there. docs/cluster.md explains it.

#SBATCH --job-name=hyperclova
#SBATCH --nodes=128
#SBATCH --ntasks-per-node=1         # one torchrun a node; it starts a process for each GPU
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@900         # seconds before the time limit, to this script
#SBATCH --requeue                   # also after a node has failed
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log

set -u
if (($# == 0)); then
  echo "usage: sbatch examples/cluster/slurm.sh CONFIGURATION [SECTION.KEY=VALUE]..." >&2
  exit 2
fi

# Threads of a process on the host; eight processes share a node.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-8}"
# How long torchrun lets its processes finish a step and save before it kills them.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=600

first_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

stopping=no
ask_to_stop() {
  stopping=yes
  scancel --signal=TERM "$SLURM_JOB_ID.0" # to the processes of srun's step, on all nodes
}
trap ask_to_stop USR1 TERM

# --resume begins anew where there is nothing to go on from.
srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" \
  --nproc-per-node gpu \
  --rdzv-backend c10d \
  --rdzv-endpoint "$first_node:29500" \
  --rdzv-id "$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}" \
  --max-restarts 20 \
  -m hyperclova pretrain "$@" --resume &
step=$!

status=0
while :; do
  wait "$step"
  status=$?
  kill -0 "$step" 2>/dev/null || break # a signal to this script ends wait, not the step
done

# 75 means "start it again". torchrun hands on a status of its own once it was asked to stop.
if ((status != 0)) && [[ $stopping == yes || $status == 75 ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
