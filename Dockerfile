# libc4c in an image, for the CPU and for CUDA.
#
#     docker build --target cpu -t c4c .
#     docker build --target cuda -t c4c:cuda .
#
# Not built yet: there was no Docker where this was written. `make install` and what Debian needs beside it are tested (tests/installed).

FROM rust:1-bookworm AS build
WORKDIR /src
# What rarely changes first: libtorch is 540 MB to fetch.
COPY Cargo.toml ./
COPY scripts/setup.sh scripts/
RUN scripts/setup.sh install
COPY . .
RUN make install PREFIX=/opt/c4c && rm -rf target

FROM debian:bookworm-slim AS cpu
RUN apt-get update && apt-get install -y --no-install-recommends \
        libavcodec59 libavformat59 libavutil57 libswscale6 libgomp1 libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/c4c /opt/c4c
RUN echo /opt/c4c/lib >/etc/ld.so.conf.d/c4c.conf && ldconfig
ENV PATH=/opt/c4c/bin:$PATH
RUN useradd --create-home c4c
USER c4c
ENTRYPOINT ["c4c"]

# The same library on libtorch's CUDA libraries, which come from the same wheel with all that it needs. For when this
# library computes on CUDA: today it is the CPU that it computes on here, too.
FROM cpu AS cuda
USER root
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip \
    && python3 -m pip install --no-cache-dir --break-system-packages --target /opt/torch torch==2.11.0 \
    && rm -rf /opt/c4c/lib/c4c && ln -s /opt/torch/torch/lib /opt/c4c/lib/c4c \
    && apt-get purge -y --auto-remove python3-pip && rm -rf /var/lib/apt/lists/*
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER c4c
