# The client and the server in one image: `stronghold` is the entry point, `stronghold server start` what it does by itself.
#
#   docker build -t stronghold .
#   docker run -p 8321:8321 -v stronghold:/data -e STRONGHOLD_SERVER_ALLOW_HTTP=1 stronghold     # behind a proxy that ends TLS
#   docker run --rm -e STRONGHOLD_TOKEN stronghold env pull --profile production > .env
#
# docs/containers.md has the rest: TLS, a read-only root, health, building without a package index.

# Any image with Python 3.11 or newer as `python3`, with venv, on glibc, with useradd.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# Set to 1 where requirements/wheels holds every wheel that is needed; no setting of pip has to enter the build then.
ARG PIP_NO_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements requirements
RUN mkdir -p requirements/wheels \
    && python3 -m venv /build \
    && /build/bin/pip install --find-links requirements/wheels --require-hashes -r requirements/build.txt \
    && python3 -m venv --without-pip /opt/stronghold \
    && /build/bin/pip --python /opt/stronghold/bin/python3 install --no-compile \
        --find-links requirements/wheels --require-hashes -r requirements/server.txt
COPY pyproject.toml README.md LICENSE ./
COPY stronghold_cli stronghold_cli
COPY server server
# Byte code is not checked against the source's time, which tools that make images change: no start compiles anything.
RUN /build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheel . \
    && /build/bin/pip --python /opt/stronghold/bin/python3 install --no-compile --no-deps --no-index /wheel/*.whl \
    && python3 -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/stronghold/lib

FROM ${PYTHON_IMAGE}
# The slim images bring the standard library without byte code; where there is some, it stays.
RUN useradd --uid 10001 --user-group --no-log-init --create-home --shell /usr/sbin/nologin stronghold \
    && install -d -o stronghold -g stronghold -m 0700 /data \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/(test|tests|idlelib|lib2to3|turtledemo|ensurepip|site-packages|dist-packages)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/stronghold /opt/stronghold
# Reachable from outside the container; without a certificate or STRONGHOLD_SERVER_ALLOW_HTTP=1 the server says so and ends.
ENV PATH=/opt/stronghold/bin:$PATH \
    STRONGHOLD_DATA_DIR=/data \
    STRONGHOLD_LISTEN_HOST=0.0.0.0
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
WORKDIR /home/stronghold
VOLUME /data
EXPOSE 8321
HEALTHCHECK --interval=30s --timeout=6s --start-period=10s --retries=3 \
    CMD ["python3", "-P", "-m", "stronghold_server.health"]
ENTRYPOINT ["stronghold"]
CMD ["server", "start"]
