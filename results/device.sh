#!/usr/bin/env bash
# Full-size records on a GPU, the most valuable first. A command that was stopped goes on where it was.
#
#   results/device.sh [--minutes 10] [--out runs/device]    run until the time is over
#   results/device.sh --dry-run                             print the commands
#
# DATA SETS: LIMBECK_DATA names a folder with their files, or they are downloaded and checked.
set -euo pipefail
cd "$(dirname "$0")/.."

MINUTES=10 OUT=runs/device DRY=
while [ $# -gt 0 ]; do
  case "$1" in
    --minutes) MINUTES=$2; shift 2 ;;
    --out) OUT=$2; shift 2 ;;
    --dry-run) DRY=yes; shift ;;
    *) echo "results/device.sh: unknown argument $1; there are --minutes, --out and --dry-run" >&2; exit 2 ;;
  esac
done

record() {  # record NAME RECIPE ARGUMENTS: OUT/NAME, or go on with it
  local name=$1 recipe=$2; shift 2
  set -- limbeck reproduce "$recipe" --device cuda --precision bf16 --out "$OUT/$name" --networks "$OUT/networks" "$@"
  echo "$*"
  [ -n "$DRY" ] && return
  local left=$((MINUTES * 60 - SECONDS))
  if [ "$left" -le 5 ]; then echo "  not begun: the time is over" >&2; return; fi
  timeout --signal=TERM --kill-after=30 "$left" "$@" || echo "  not finished; the same command goes on" >&2
}

# One pair of the field's table with one seed, then with five, then all pairs; networks are shared between them.
record cifar100-vgg-seed0 tian2020-cifar100 --set pairs=vgg --seeds 1
record cifar100-vgg tian2020-cifar100 --set pairs=vgg
record cifar100 tian2020-cifar100
# A teacher on all of CIFAR-10 and its students, at the paper's widths.
record cifar10-vgg cifar10-vgg-student --set teacher=vgg16 --set student=three_block --set num_train=0 \
  --set teacher_recipe.num_epochs=100 --set student_recipe.num_epochs=60 --set num_views=60
# Peers and exits at the sizes of their papers.
record zhang2018-mutual zhang2018-mutual --set data=cifar100 --set network=resnet32 --set larger=resnet56 \
  --set num_train=0 --set recipe.num_epochs=200
record zhang2019-self zhang2019-self --set data=cifar100 --set network=resnet56 --set num_train=0 \
  --set recipe.num_epochs=200
# Section 3's teacher as the paper trained it, 3,000 epochs of SGD, but in batches of 500 and at a tenth of the rate.
record hinton2015-mnist hinton2015-mnist \
  --set teacher=mlp:widths=1200x1200,input_dropout=0.2,hidden_dropout=0.5,max_norm=3.87 \
  --set teacher_recipe.num_epochs=3000 --set teacher_recipe.batch_size=500 --set teacher_recipe.optimiser=sgd \
  --set teacher_recipe.learning_rate=0.01 --set teacher_recipe.schedule=exponential \
  --set teacher_recipe.momentum=0.99 --set teacher_recipe.momentum_start=0.5 --set teacher_recipe.nesterov=false
