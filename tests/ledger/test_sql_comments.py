"""The request id in statements: where it stands, and where it would do harm."""

from app.domain.origin import Origin, acting_for, set_origin
from app.ledger.connections import connect
from app.ledger.sql_comments import MOST_NAMED, named
from tests.world import World

ACTIVITY = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"


def origin(request_id: str) -> str:
    return Origin(request_id, 1_763_656_270_123, 1, ip="192.0.2.1", method="POST", route="/v1/payments").as_text()


def test_a_statement_of_a_request_names_it_and_others_name_none(world: World) -> None:
    with world.engine.connect() as connection, acting_for(Origin("shop-17.a_b")):
        named_query = connection.exec_driver_sql(f"{ACTIVITY} AND %(x)s = 1", {"x": 1}).scalar_one()
    set_origin(None)
    with world.engine.connect() as connection:
        plain = connection.exec_driver_sql(ACTIVITY).scalar_one()
    assert named_query.endswith("/*request_id='shop-17.a_b'*/")
    assert "request_id" not in plain


def test_a_prepared_statement_keeps_its_text(world: World) -> None:
    url = world.settings.database_url
    with (
        connect(url, application_name="test") as plain,
        connect(url, application_name="test", prepares=True) as prepares,
        acting_for(Origin("shop-17")),
    ):
        plain.autocommit = True  # within a transaction the list of activity stays as it was
        assert "request_id" in plain.execute(ACTIVITY).fetchall()[0][0]
        assert "request_id" not in plain.execute(ACTIVITY, prepare=True).fetchall()[0][0]
        assert "request_id" not in prepares.execute(ACTIVITY).fetchall()[0][0]


def test_a_batch_names_its_first_calls_each_once() -> None:
    assert named("COPY x FROM STDIN\n", []) == "COPY x FROM STDIN\n"
    assert named("COPY x FROM STDIN\n", [origin("a"), origin("b"), origin("a")]) == (
        "COPY x FROM STDIN /*request_id='a,b'*/"
    )
    many = named("COPY x", [origin(str(number)) for number in range(MOST_NAMED + 5)])
    assert many == "COPY x /*request_id='0,1,2,3,4,5,6,7,8,9',more='5'*/"
