"""The options of the commands; :mod:`fasim.cli_read` makes networks, settings and plans of what they give."""

from __future__ import annotations

import click

from fasim.cli_groups import option, options

DATA = "Data"
NETWORK = "Network"
STEP = "Training step"
FEEDBACK = "Feedback"
PLAN = "From epoch to epoch"
TARGET = "Energy to a target accuracy"
SCHEDULE = "Schedule"
RUN = "Run and results"
WORKERS = "Workers"
RESULTS = "Results"

NET = option(NETWORK, "--net", help="Topology, such as 784-500-10; default by data set.")
NET_NEEDED = option(
    NETWORK, "--net", required=True, help="Topology, such as 784-500-10 or 28x28x1-32c5-2p-1000-10 (c conv, p, a pool)."
)
PROCESSOR = option(
    RUN,
    "--processor",
    default="generic_45nm",
    help="Energy constants: generic_45nm, generic_28nm, systolic_16x16, mcu_pulp (time alone) or a TOML path.",
)
RATE = "Learning rate: 0.001 or 2^-7; fixed point takes powers of two."
JSON = option(RUN, "--json", "as_json", is_flag=True, help="Print only JSON.")

DATA_OPTIONS = options(
    option(
        DATA,
        "--data",
        default="digits",
        help="digits, mnist, fashion-mnist, cifar10, cifar100, cifar100-coarse, tiny-imagenet, synthetic-classification, "
        "synthetic-regression, a path.npz or a path.csv.",
    ),
    option(
        DATA, "--standardise", default="none", help="Inputs: none, unit (0..1), channel or pixel (mean 0, deviation 1)."
    ),
    option(DATA, "--allow-unverified-data", is_flag=True, help="Accept a data file with an unknown hash."),
)
NETWORK_OPTIONS = options(
    option(NETWORK, "--hidden", default="tanh", help="Hidden activation: tanh, sigmoid, relu, linear."),
    option(NETWORK, "--output", help="Output activation; default: what the loss needs.", show_default="by loss"),
    option(NETWORK, "--init", default="torch", help="Initial weights: torch, xavier, he, lecun, wage, zero."),
    option(NETWORK, "--bias-init", default="default", help="Initial biases: default (by --init), zero, normal."),
    option(NETWORK, "--batch-norm", is_flag=True, help="Normalise hidden pre-activations over the batch."),
    option(NETWORK, "--dropout", default=0.0, help="Probability with which a hidden activation is dropped."),
    option(NETWORK, "--input-dropout", default=0.0, help="Probability with which an input is dropped."),
    option(NETWORK, "--dropout-kind", default="inverted", help="inverted or classical."),
)
STEP_OPTIONS = options(
    option(STEP, "--batch-size", default=32, help="Samples per step."),
    option(
        STEP,
        "--target",
        help="What the output is held against: label, value (regression) or input (auto-encoder).",
        show_default="by data set",
    ),
    option(
        STEP,
        "--loss",
        help="bce (sigmoid), cross_entropy (softmax), mse and half_mse (linear unless --output says otherwise).",
        show_default="bce for labels, else mse",
    ),
    option(STEP, "--optimizer", default="sgd", help="sgd, momentum, nesterov, rmsprop, adam."),
    option(STEP, "--reduction", default="sum", help="Gradients of a batch: sum, mean."),
    option(STEP, "--weight-decay", default=0.0, help="Lambda of weights; biases do not decay."),
    option(STEP, "--decay-kind", default="coupled", help="coupled, decoupled, adamw."),
    option(STEP, "--clip", default="", help="Clip gradients: value:<limit> or norm:<limit>.", show_default="none"),
    option(
        STEP,
        "--freeze",
        default="",
        help="Layers that keep their weights: conv, hidden, output or 1,2.",
        show_default="none",
    ),
    option(STEP, "--fgsm", default=0.0, help="Train on inputs moved by this much along the gradient's sign."),
    option(
        FEEDBACK,
        "--feedback",
        default="uniform",
        help="A family, such as nokland, uniform:0.5, crafton+k:1 or "
        "gaussian+rank:2+shared; `fasim feedback` lists all words.",
    ),
    option(FEEDBACK, "--error-scale", default="loss_gradient", help="Direct feedback carries loss_gradient or raw error."),
    option(
        FEEDBACK, "--hook", default="pre_pool", help="Where direct feedback enters a pooled layer: pre_pool, post_pool."
    ),
    option(
        FEEDBACK,
        "--feedback-optimizer",
        default="",
        help="Optimizer of feedback that learns (kp, dkp).",
        show_default="--optimizer",
    ),
    option(
        FEEDBACK,
        "--feedback-weight-decay",
        type=float,
        help="Lambda of feedback that learns.",
        show_default="--weight-decay",
    ),
)
SCHEDULE_OPTIONS = options(
    option(SCHEDULE, "--order", default="eager", help="eager or phased."),
    option(SCHEDULE, "--fuse", default="none", help="none, within_layer or deferred (updates join the next forward pass)."),
)
PLAN_OPTIONS = options(
    option(PLAN, "--epochs", default=20, help="Passes over the training set."),
    option(
        PLAN,
        "--rate-schedule",
        default="constant",
        help="Learning rate: constant, step:<factor>:<epochs>, exponential:<factor>, cosine[:<factor>].",
    ),
    option(PLAN, "--feedback-rate", help="Learning rate of feedback that learns.", show_default="--lr"),
    option(
        PLAN,
        "--feedback-schedule",
        default="",
        help="Its schedule, written like --rate-schedule.",
        show_default="--rate-schedule",
    ),
    option(PLAN, "--last-batch", default="drop", help="Samples that fill no batch: drop or keep (a smaller batch)."),
    option(PLAN, "--augment", default="", help="Training images: flip, crop:4, flip+crop:4.", show_default="none"),
    option(
        PLAN,
        "--stages",
        default="",
        help="Which layers learn for how many steps, such as hidden:90,output:30,all:30.",
        show_default="all layers",
    ),
    option(PLAN, "--stop", default="", help="Stop early: train_error:<fraction>.", show_default="never"),
    option(PLAN, "--train-accuracy", is_flag=True, help="Measure the training set too, after each epoch."),
)
RUN_OPTIONS = options(
    option(RUN, "--backend", default="cpu", help="cpu, cuda (a GPU) or reference (slow)."),
    option(RUN, "--threads", default=0, help="Threads; 0 chooses by the size of a step."),
    PROCESSOR,
    option(RUN, "--out", help="Folder for the results; default runs/<time>-..."),
    JSON,
)
RULE_AND_DATAPATH = options(
    click.option("--rule", default="dfa", help="Learning rule, see `fasim rules`, or a .py file of your own."),
    click.option(
        "--datapath",
        default="float32",
        help="float32, s8, s16, s8_stoch, gupta16, wage, niti, pocketnn, reckon_pm1 or a TOML path.",
    ),
)
ONE_STEP = options(RULE_AND_DATAPATH, NET_NEEDED, NETWORK_OPTIONS, STEP_OPTIONS, SCHEDULE_OPTIONS)
TRAIN_OPTIONS = options(
    RULE_AND_DATAPATH,
    click.option("--seed", default=0, help="Seed of weights, feedback, order, dropout, augmentation and rounding."),
    click.option("--lr", help=RATE, show_default="2^-7 for sgd"),
    *(DATA_OPTIONS, NET, NETWORK_OPTIONS, STEP_OPTIONS, PLAN_OPTIONS),
    option(
        PLAN,
        "--validation",
        default="0",
        help="Share of the training set that is held out, by seed, and evaluated at the end: 0.1 or 10%.",
        show_default="none",
    ),
    RUN_OPTIONS,
    option(RUN, "--checkpoint", is_flag=True, help="Write a checkpoint into the folder after each epoch."),
    option(
        RUN,
        "--resume",
        metavar="FOLDER",
        help="Go on with the run of this folder, for more --epochs if wanted; else give the options it was started with.",
    ),
    option(
        RUN,
        "--trace",
        is_flag=True,
        help="Count the range of every tensor: a table, trace.jsonl and trace.png; results stay the same.",
    ),
    option(RUN, "--angles", is_flag=True, help="Measure the angles to backpropagation after each epoch, and draw them."),
)
TARGET_OPTIONS = options(
    option(
        TARGET,
        "--target-accuracy",
        help="Find the energy until a validation split holds this at two evaluations in a row: 0.95 or 95%.",
        show_default="none",
    ),
    option(
        TARGET,
        "--validation",
        help="Share of the training set that is held out for it: 0.1 or 10%; by seed, the same for all rules.",
        show_default="0.1",
    ),
    option(
        TARGET,
        "--evaluate-every",
        type=int,
        help="Training samples between two evaluations, rounded up to whole batches.",
        show_default="1000",
    ),
    option(TARGET, "--stop-at-target", is_flag=True, help="End a run with the epoch in which it reaches the target."),
)
COMPARE_OPTIONS = options(
    click.option(
        "--rules", default="bp,fa,dfa,sdfa,drtp", help="Learning rules, see `fasim rules`, or .py files; comma-separated."
    ),
    click.option("--datapaths", default="float32,s16,s8", help="float32, presets or TOML paths, comma-separated."),
    click.option("--seeds", default="0,1,2", help="Seeds: 0,1,2 or 0-255, or how many there are: 256."),
    click.option("--lr", help=f"{RATE} By rule: dfa=1.5e-4,fa=5e-4.", show_default="2^-7 for sgd"),
    *(DATA_OPTIONS, NET, NETWORK_OPTIONS, STEP_OPTIONS, PLAN_OPTIONS, TARGET_OPTIONS, RUN_OPTIONS),
)
WORKER_OPTIONS = options(
    option(
        WORKERS,
        "--workers",
        type=int,
        help="Processes on this machine; 0: this one, without Dask.",
        show_default="one a core",
    ),
    option(
        WORKERS,
        "--scheduler",
        default="",
        metavar="ADDRESS",
        help="Use the workers of this Dask scheduler.",
        show_default="none",
    ),
    option(WORKERS, "--gpu", is_flag=True, help="Run on GPUs: one point at a time for each GPU of a worker."),
    option(WORKERS, "--threads", default=0, help="Threads of a point; 0: the cores divided by the workers."),
)
