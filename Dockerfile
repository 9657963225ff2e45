# The policy server. Envoy is a container of its own: see docker-compose.yml and envoy/.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY extproc extproc
COPY policies policies
COPY envoy envoy
RUN python -m venv /opt/sluicegate \
 && /opt/sluicegate/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.12-slim-bookworm
COPY --from=build /opt/sluicegate /opt/sluicegate
ENV PATH=/opt/sluicegate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 9002 9003
ENTRYPOINT ["sluicegate"]
CMD ["--help"]
