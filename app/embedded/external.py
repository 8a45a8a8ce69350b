"""Checks of servers given from outside: reachable, and new enough."""

from app.embedded.process import EmbeddedServerError

OLDEST_POSTGRES = 15
OLDEST_REDIS = 7
CONNECT_SECONDS = 5


def check_database(url: str) -> None:
    """Raises unless a Postgres of a sufficient version answers at `url`."""
    import psycopg

    try:
        with psycopg.connect(plain(url), connect_timeout=CONNECT_SECONDS) as connection:
            version = connection.info.server_version // 10000
    except psycopg.Error as error:
        raise EmbeddedServerError(f"The database at DATABASE_URL does not answer: {error}") from error
    if version < OLDEST_POSTGRES:
        raise EmbeddedServerError(
            f"The database at DATABASE_URL is Postgres {version}; Holdfast needs {OLDEST_POSTGRES} or newer."
        )


def check_cache(url: str) -> None:
    """Raises unless a Redis or Valkey of a sufficient version answers at `url`.

    Valkey reports the Redis version that it is compatible with under the same name.
    """
    import redis

    client = redis.Redis.from_url(
        url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS, decode_responses=True
    )
    try:
        version = str(client.info("server")["redis_version"])
    except (redis.RedisError, OSError) as error:
        raise EmbeddedServerError(f"The cache at REDIS_URL does not answer: {error}") from error
    finally:
        client.close()
    if int(version.split(".")[0]) < OLDEST_REDIS:
        raise EmbeddedServerError(
            f"The cache at REDIS_URL is version {version}; Holdfast needs Redis or Valkey {OLDEST_REDIS} or newer."
        )


def plain(url: str) -> str:
    """A database URL without the driver that SQLAlchemy's form may name."""
    scheme, separator, rest = url.partition("://")
    return scheme.split("+")[0] + separator + rest
