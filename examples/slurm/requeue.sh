# shellcheck shell=bash
# Sourced by the sbatch scripts: run a job step, and put the job back into the queue if SLURM asked it to stop before its end.

# torchrun passes the signal on, and kills what is not done after so many seconds; its own default of 30 may be less than a step.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-540}"

# Processes of each node, one for a graphics card, and processor cores for each of them.
processes="${UNIREG_PROCESSES:-${SLURM_GPUS_ON_NODE:-1}}"
cores="${SLURM_CPUS_PER_TASK:-$processes}"
# shellcheck disable=SC2034
threads="$((cores > processes ? cores / processes : 1))"

# run_requeued COMMAND...
# USR1 to this shell becomes TERM for the command (srun gives it to every task), on which unireg train ends its step and writes a
# checkpoint. Then the job is requeued, and starts again with --resume from that checkpoint. Returns the command's exit code.
run_requeued() {
    local asked=0 early heard step="" code
    # Once: torchrun takes a second signal for impatience.
    trap 'asked=$((asked + 1)); [ "$asked" -gt 1 ] || [ -z "$step" ] || kill -TERM "$step"' USR1
    # In the background, because bash answers no signal while it waits for a command in the foreground.
    "$@" &
    # One command: no trap runs between the two. A signal that came before could not be passed on yet.
    step=$! early=$asked
    [ "$early" -eq 0 ] || kill -TERM "$step"
    while :; do
        heard=$asked code=0
        wait "$step" || code=$?
        # A signal ends wait, too, and the command goes on.
        [ "$heard" != "$asked" ] || break
    done
    trap - USR1
    if [ "$asked" -gt 0 ] && [ "$code" -ne 0 ]; then
        echo "stopped before the end: back into the queue"
        scontrol requeue "$SLURM_JOB_ID"
        return 0
    fi
    return "$code"
}
