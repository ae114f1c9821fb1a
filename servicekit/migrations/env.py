"""Where Alembic runs a service's migrations: on a connection and in a transaction that are there already."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    render_as_batch=True,
)
context.run_migrations()
