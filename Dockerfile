# An image that serves the artifacts of the native engine: no torch, no compiler.
#   pip wheel --no-deps -w dist .            the wheel, into dist/
#   grandopt optimize                        the agents, into artifacts/
#   docker build -t grandopt .
#   docker run -p 8000:8000 -p 8001:8001 -p 8002:8002 grandopt
FROM python:3.11-slim-bookworm AS install
WORKDIR /install
COPY configs/docker/requirements.txt ./
COPY dist/grandopt-*.whl ./
RUN python -m venv /opt/grandopt \
 && /opt/grandopt/bin/pip install --no-cache-dir --no-deps -r requirements.txt ./grandopt-*.whl \
 && /opt/grandopt/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin grandopt
COPY --from=install /opt/grandopt /opt/grandopt
COPY artifacts /artifacts
ENV PATH=/opt/grandopt/bin:$PATH
USER 10001:10001
EXPOSE 8000 8001 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=2)"]
ENTRYPOINT ["grandopt", "serve"]
CMD ["/artifacts", "--host", "0.0.0.0"]
