# The client and the server in one image; the server keeps its data in /data.
#
#   docker build -t stronghold .
#   docker run -p 8321:8321 -v stronghold:/data -e STRONGHOLD_SERVER_ALLOW_HTTP=1 stronghold server start
#
# Plain http is for a proxy in front that ends TLS; without one, give STRONGHOLD_TLS_CERTIFICATE and STRONGHOLD_TLS_KEY.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/stronghold
ENV PATH=/opt/stronghold/bin:$PATH
WORKDIR /src
COPY requirements requirements
RUN pip install --require-hashes -r requirements/server.txt \
    && python -m venv /build \
    && /build/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY stronghold_cli stronghold_cli
COPY server server
RUN /build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheel . \
    && pip install --no-deps --no-index /wheel/*.whl \
    && pip uninstall --yes pip

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin stronghold \
    && install -d -o stronghold -g stronghold -m 0700 /data
COPY --from=build /opt/stronghold /opt/stronghold
ENV PATH=/opt/stronghold/bin:$PATH STRONGHOLD_DATA_DIR=/data STRONGHOLD_LISTEN_HOST=0.0.0.0
USER stronghold
WORKDIR /home/stronghold
VOLUME /data
EXPOSE 8321
ENTRYPOINT ["stronghold"]
CMD ["--help"]
