"""What every service needs: settings, clock, database, gRPC server and client, identity, access, audit, metrics, logs.

Nothing here knows what a lamp or a meter is. Modules that a plain gRPC client uses (client, settings, convert, context,
clock, logs, metrics) never import SQL, so that the web UI and the command can use them without a database driver.
"""
