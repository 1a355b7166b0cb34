# The bridge in a container: `docker build -t stepup-bridge:dev .` (docs/containers.md says how to run it).
#
# Wants BuildKit. Where packages come through a mirror or a proxy with its own certificate:
#   docker build --secret id=pip.conf,src=pip.conf --secret id=ca,src=ca.pem .
# A secret is there while pip runs, and in no layer.

# Any image with Python 3.11 or newer and `venv`; both stages use the same one.
ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_REQUIRE_VIRTUALENV=1
# pip and what builds the package live in /tools; what runs lives in /opt/stepup-bridge, without pip.
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/stepup-bridge
WORKDIR /src
COPY requirements/build.txt requirements/image.txt requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    /tools/bin/pip install --require-hashes --no-deps -r requirements/build.txt && \
    /tools/bin/pip --python /opt/stepup-bridge/bin/python3 install --only-binary :all: \
      --require-hashes --no-deps -r requirements/image.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY bridge bridge
RUN /tools/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . && \
    /tools/bin/pip --python /opt/stepup-bridge/bin/python3 install --no-index --no-deps /wheels/*.whl

FROM ${PYTHON_IMAGE}
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="stepup-bridge" \
      org.opencontainers.image.description="Step-up authentication (RFC 9470) for API gateways" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Nothing is installed into a running bridge: the base's own pip goes.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip \
      /usr/local/lib/python3*/site-packages/pip /usr/local/lib/python3*/site-packages/pip-*
COPY --from=build /opt/stepup-bridge /opt/stepup-bridge
# Nothing is written, so the root file system may be read-only.
ENV PATH=/opt/stepup-bridge/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes' runAsNonRoot can tell.
USER 65532:65532
EXPOSE 9191
STOPSIGNAL SIGTERM
# Asks the admin listener where it is by default; http.client, since urllib would obey a proxy's variables.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python3", "-Ic", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9192, timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["stepup-bridge"]
CMD ["serve", "--config", "/etc/stepup-bridge/bridge.yaml"]
