"""What every migration says the same way: row-level security, the dispatch role, functions kept in `.sql` files."""

import re
from pathlib import Path

from alembic import op

_PACKAGE = Path(__file__).resolve().parents[1]
_FUNCTION = re.compile(r"CREATE\s+(?:OR\s+REPLACE\s+)?FUNCTION\s+(\w+)\s*\(", re.IGNORECASE)


def tenant_table(name: str, *, grants: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """Force row-level security on `name` (which has a `tenant_id uuid` column) and grant it to the app role.

    The policy's form costs about nothing; without a tenant set it shows no row (ARCHITECTURE, section 5).
    """
    op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY tenant ON {name} TO cognitionos_app, cognitionos_owner "
        "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    )
    op.execute(f"GRANT {grants} ON {name} TO cognitionos_app")


def dispatch_policy(name: str, *, grants: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """Let the functions owned by the dispatch role see every tenant's rows of `name`."""
    op.execute(f"CREATE POLICY dispatch ON {name} TO cognitionos_dispatch USING (true) WITH CHECK (true)")
    op.execute(f"GRANT {grants} ON {name} TO cognitionos_dispatch")


def install_function(path: str) -> None:
    """Run the `.sql` file at `path` (relative to the package) and give its functions to the dispatch role."""
    text = (_PACKAGE / path).read_text(encoding="utf-8")
    op.execute(text.replace(":", "\\:"))
    for name in functions_in(text):
        op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO cognitionos_app")
        op.execute(f"ALTER FUNCTION {name} OWNER TO cognitionos_dispatch")


def drop_functions(path: str) -> None:
    """Drop the functions that the `.sql` file at `path` defines."""
    for name in functions_in((_PACKAGE / path).read_text(encoding="utf-8")):
        op.execute(f"SET ROLE cognitionos_dispatch; DROP FUNCTION IF EXISTS {name}; RESET ROLE")


def functions_in(text: str) -> list[str]:
    """The names of the functions that an SQL text creates, in order, each once."""
    return list(dict.fromkeys(_FUNCTION.findall(text)))
