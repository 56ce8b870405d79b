"""Tenants, projects, API keys

Revision ID: 0002
Revises: 0001
"""

from alembic import op

from cognitionos.platform.schema import dispatch_policy, drop_functions, install_function, tenant_table

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FUNCTIONS = ("tenancy/infrastructure/find_api_key.sql", "tenancy/infrastructure/find_tenant.sql")


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE tenants (
          tenant_id uuid PRIMARY KEY,
          name text NOT NULL,
          created_at timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX tenants_name ON tenants (lower(name))")
    op.execute(
        """
        CREATE TABLE projects (
          id uuid PRIMARY KEY,
          tenant_id uuid NOT NULL REFERENCES tenants,
          name text NOT NULL,
          created_at timestamptz NOT NULL,
          UNIQUE (tenant_id, name)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE api_keys (
          id uuid PRIMARY KEY,
          tenant_id uuid NOT NULL REFERENCES tenants,
          project_id uuid NOT NULL REFERENCES projects,
          name text NOT NULL,
          prefix text NOT NULL UNIQUE,
          secret_hash bytea NOT NULL,
          scopes text[] NOT NULL,
          created_at timestamptz NOT NULL,
          created_by uuid,
          expires_at timestamptz,
          revoked_at timestamptz,
          last_used_at timestamptz
        )
        """
    )
    op.execute("CREATE INDEX api_keys_newest ON api_keys (tenant_id, created_at DESC, id DESC)")
    for table in ("tenants", "projects", "api_keys"):
        tenant_table(table)
        dispatch_policy(table, grants="SELECT")
    for function in _FUNCTIONS:
        install_function(function)


def downgrade() -> None:
    for function in _FUNCTIONS:
        drop_functions(function)
    for table in ("api_keys", "projects", "tenants"):
        op.execute(f"DROP TABLE {table}")
