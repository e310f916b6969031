-- One row that names the contents of this database. Redis keeps the name inside its marks, and a
-- mark with another name counts for nothing. Without it, marks that outlive the rows would make the
-- consumer drop new readings as duplicates.

CREATE TABLE data_set (
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  created_at timestamptz NOT NULL DEFAULT now(),
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);

INSERT INTO data_set DEFAULT VALUES;

-- Emptied means: by TRUNCATE, or by a DELETE that leaves no row. A DELETE of some rows is the
-- ordinary end of old readings; the name stays.
CREATE FUNCTION renew_data_set_when_emptied() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM sensor_events) THEN
    UPDATE data_set SET id = gen_random_uuid(), created_at = now();
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER renew_data_set AFTER TRUNCATE OR DELETE ON sensor_events
FOR EACH STATEMENT EXECUTE FUNCTION renew_data_set_when_emptied();
