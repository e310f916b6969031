-- The tables may lie in a schema of their own, which whoever deletes from them by hand need not have in
-- the search_path. So the trigger says where it looks: in the schema of its table.

CREATE OR REPLACE FUNCTION renew_data_set_when_emptied() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  v_is_emptied boolean;
BEGIN
  EXECUTE format('SELECT NOT EXISTS (SELECT FROM %I.sensor_events)', TG_TABLE_SCHEMA)
  INTO v_is_emptied;
  IF v_is_emptied THEN
    EXECUTE format(
      'UPDATE %I.data_set SET id = gen_random_uuid(), created_at = now()', TG_TABLE_SCHEMA
    );
  END IF;
  RETURN NULL;
END
$$;
