# auditpipe's own image: the one-shot services, the dead-letter replayer and the command line of docker-compose.yml.
ARG PYTHON_VERSION=3.13
FROM python:${PYTHON_VERSION}-slim AS build
COPY . /source
RUN python -m venv /opt/auditpipe \
    && /opt/auditpipe/bin/pip install --no-cache-dir --disable-pip-version-check "/source[cli]"

FROM python:${PYTHON_VERSION}-slim
COPY --from=build /opt/auditpipe /opt/auditpipe
ENV PATH="/opt/auditpipe/bin:${PATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The same user id as in the images of OpenSearch and Dashboards: the volumes' files are for it alone.
RUN useradd --uid 1000 --create-home auditpipe
USER 1000:1000
WORKDIR /home/auditpipe
ENTRYPOINT ["auditpipe"]
CMD ["--help"]
