# Not yet built: written for Docker 23 or newer (BuildKit) and checked by linters only.
#
#   docker build -t lpdseg .                                          # PyTorch's build for CPUs
#   docker build -t lpdseg:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .   # pip's own choice: CUDA, several GB
#   docker run --rm -v "$PWD:/data" lpdseg segment runs/first patches --out results
#
# For GPUs add --gpus all (NVIDIA Container Toolkit); for training with loader processes --shm-size 2g.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=slides,onnx,imagenet

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /opt/lpdseg
COPY constraints.txt ./
# Its own layer: PyTorch changes rarely, the package often. What it needs comes from the usual index, below.
RUN pip install --no-deps --constraint constraints.txt --index-url "${TORCH_INDEX}" torch

COPY pyproject.toml hatch_build.py README.md CHANGELOG.md LICENSE ./
COPY src ./src
RUN pip install --constraint constraints.txt ".[${EXTRAS}]" \
    && useradd --create-home --uid 1000 lpdseg

USER 1000
WORKDIR /data
ENTRYPOINT ["lpdseg"]
CMD ["--help"]
