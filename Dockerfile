# One image, four commands: `serve` (API, the default), `work` (worker), `migrate`, `up` (everything in one container).
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements/run.txt /tmp/run.txt
RUN /opt/venv/bin/pip install --require-hashes --no-compile -r /tmp/run.txt
COPY pyproject.toml README.md LICENSE /app/
COPY src /app/src
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation --no-compile -e /app \
    && /opt/venv/bin/python -m compileall -q -j2 /opt/venv/lib/python3.13/site-packages /app/src

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home --home-dir /data cognitionos
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
COPY alembic.ini /app/
COPY migrations /app/migrations
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 COGNITIONOS_HOST=0.0.0.0 COGNITIONOS_PORT=8080 COGNITIONOS_DATA_DIR=/data
WORKDIR /app
USER cognitionos
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import os,urllib.request as r; r.urlopen('http://127.0.0.1:%s/health/live' % os.environ['COGNITIONOS_PORT'], timeout=2)"]
ENTRYPOINT ["cognitionos"]
CMD ["serve"]
