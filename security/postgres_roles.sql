-- The roles of sensor-ledger in PostgreSQL, each with no more than it needs.
--
--   sensor_ledger_migrator   deno task migrate: owns the tables, changes them
--   sensor_ledger_app        run, verify, status: adds readings and dead letters, deletes nothing
--   sensor_ledger_operator   dead-letters, retain, rewind: what a person does to the tables
--   sensor_ledger_reader     reads; for dashboards and the users of the table
--
-- Run it as a superuser, connected to the database, before the first migration and after each one. It
-- can be repeated; rights on a table can only be granted once the table exists. Then give each role
-- that you use a password: \password sensor_ledger_app

DO $$
DECLARE
  v_role text;
BEGIN
  FOREACH v_role IN ARRAY ARRAY['migrator', 'app', 'operator', 'reader'] LOOP
    IF to_regrole('sensor_ledger_' || v_role) IS NULL THEN
      EXECUTE format('CREATE ROLE %I LOGIN', 'sensor_ledger_' || v_role);
    END IF;
  END LOOP;
  -- Only the roles named here.
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format(
    'GRANT CONNECT ON DATABASE %I TO sensor_ledger_migrator, sensor_ledger_app, '
      'sensor_ledger_operator, sensor_ledger_reader',
    current_database()
  );
END
$$;

-- Up to version 14, everybody may create tables here.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO sensor_ledger_migrator;
GRANT USAGE ON SCHEMA public TO sensor_ledger_app, sensor_ledger_operator, sensor_ledger_reader;

-- A reader writes nothing, whatever it is granted by mistake, and does not hold up others.
ALTER ROLE sensor_ledger_reader SET default_transaction_read_only = on;
ALTER ROLE sensor_ledger_reader SET statement_timeout = '10s';

-- All may read all tables, including those of later migrations.
ALTER DEFAULT PRIVILEGES FOR ROLE sensor_ledger_migrator IN SCHEMA public
GRANT SELECT ON TABLES TO sensor_ledger_app, sensor_ledger_operator, sensor_ledger_reader;

DO $$
DECLARE
  v_grant record;
BEGIN
  FOR v_grant IN
    SELECT * FROM (VALUES
      ('sensor_events', 'INSERT', 'sensor_ledger_app, sensor_ledger_operator'),
      ('sensor_events', 'DELETE', 'sensor_ledger_operator'),
      ('dead_letters', 'INSERT', 'sensor_ledger_app'),
      ('dead_letters', 'UPDATE, DELETE', 'sensor_ledger_operator'),
      ('ledger', 'INSERT, UPDATE', 'sensor_ledger_app, sensor_ledger_operator'),
      ('row_corrections', 'INSERT, UPDATE', 'sensor_ledger_operator'),
      ('dead_letter_deletions', 'INSERT, UPDATE', 'sensor_ledger_operator'),
      -- An emptied table counts as a new data set.
      ('data_set', 'UPDATE', 'sensor_ledger_operator')
    ) AS wanted (name, privileges, roles)
    WHERE to_regclass(name) IS NOT NULL
  LOOP
    EXECUTE format('GRANT %s ON %I TO %s', v_grant.privileges, v_grant.name, v_grant.roles);
  END LOOP;
END
$$;
