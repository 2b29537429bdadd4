# wsol_bench in a container; docs/container.md says how to use it.
#
#   docker build -t wsol-bench .                            PyTorch for CPUs
#   docker build -t wsol-bench --build-arg TORCH=cu130 .    PyTorch for GPUs with CUDA 13.0
#
# Versions of Python packages are those of constraints.txt.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
# A build of PyTorch, as uv names it: cpu, cu126, cu130, ...
ARG TORCH=cpu
# Bytecode is written now, since nobody may write beside the code later.
ENV UV_TORCH_BACKEND=${TORCH} UV_COMPILE_BYTECODE=1
WORKDIR /opt/wsol-bench
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY scripts/setup scripts/setup
COPY wsol_bench wsol_bench
COPY experiments/papers experiments/papers
RUN scripts/setup ray timm view

FROM python:${PYTHON}-slim
# A virtual environment holds its path, which is the same in both stages.
COPY --from=build /opt/wsol-bench /opt/wsol-bench
# Any user may write to both, because results should belong to the one who calls (docker run --user).
RUN install -d -m 1777 /work /cache
# Downloaded weights, compiled kernels, parsed annotations and drawn data sets. A named volume keeps them.
ENV PATH=/opt/wsol-bench/.venv/bin:$PATH HOME=/cache USER=wsol XDG_CACHE_HOME=/cache
VOLUME /cache
# Experiments, and the folder results/ that runs write.
WORKDIR /work
USER 1000:1000
ENTRYPOINT ["wsol-bench"]
CMD ["--help"]
