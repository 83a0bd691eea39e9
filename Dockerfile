# facesmith in a container: docker build --target cpu|cuda; docs/installation.md has the commands.
# Results go to /work, weights and settings of the user to /cache: mount both.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS base
# libGL and glib for OpenCV, libEGL for MediaPipe, git for the record of a checkout; versions of the image's Debian
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libegl1 libgl1 libgles2 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 \
    HOME=/cache XDG_CACHE_HOME=/cache XDG_CONFIG_HOME=/cache/config
RUN groupadd --gid 1000 facesmith \
    && useradd --uid 1000 --gid facesmith --home-dir /cache --no-create-home facesmith \
    && install -d -o facesmith -g facesmith -m 0777 /cache /work
WORKDIR /work
VOLUME ["/work", "/cache"]

FROM base AS cpu
# hadolint ignore=DL3013
RUN pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY . /opt/facesmith
RUN pip install /opt/facesmith
USER 1000:1000
ENTRYPOINT ["facesmith"]
CMD ["--help"]

FROM base AS cuda
# the driver comes from the host (--gpus all), everything else from the wheels
# hadolint ignore=DL3013
RUN pip install torch torchvision --index-url https://download.pytorch.org/whl/cu128
COPY . /opt/facesmith
RUN pip install "/opt/facesmith[quantised]"
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
USER 1000:1000
ENTRYPOINT ["facesmith"]
CMD ["--help"]
