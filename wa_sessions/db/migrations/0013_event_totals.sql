-- Sums of the history, kept as it is written: metrics ask for them at each scrape, and read a million entries for it before.

CREATE TABLE wa_sessions.event_total (
    phone_id integer NOT NULL,
    kind     text NOT NULL,
    times    bigint NOT NULL,
    seconds  double precision,
    PRIMARY KEY (phone_id, kind)
);
COMMENT ON TABLE wa_sessions.event_total IS 'How often each kind of event was written of a phone, ever. Pruning the history takes nothing away.';
COMMENT ON COLUMN wa_sessions.event_total.kind IS 'With the kind of error where the event has one, as in error_counted.bad_mac.';
COMMENT ON COLUMN wa_sessions.event_total.seconds IS 'The sum of those of message_recovered.';

-- By a trigger, so that workers of a version before this one, which go on meanwhile, count too. It has the rights of the
-- schema's owner: roles that write the history need none on this table.
CREATE FUNCTION wa_sessions.count_events() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO wa_sessions.event_total AS total (phone_id, kind, times, seconds)
    SELECT phone_id, kind || coalesce('.' || (detail ->> 'error_kind'), ''), count(*),
           sum((detail -> 'seconds')::double precision)
               FILTER (WHERE kind = 'message_recovered' AND jsonb_typeof(detail -> 'seconds') = 'number')
    FROM added WHERE kind <> 'history_pruned'
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (phone_id, kind) DO UPDATE SET
        times = total.times + excluded.times,
        seconds = coalesce(total.seconds + excluded.seconds, total.seconds, excluded.seconds);
    RETURN NULL;
END
$$;

CREATE TRIGGER count_events AFTER INSERT ON wa_sessions.event
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION wa_sessions.count_events();

-- After the trigger: making it waited for whoever was writing, and holds up who comes, so nothing is counted twice or not at all.
INSERT INTO wa_sessions.event_total (phone_id, kind, times, seconds)
SELECT phone_id, kind, sum(times)::bigint, sum(seconds)
FROM (
    SELECT phone_id, kind || coalesce('.' || (detail ->> 'error_kind'), '') AS kind, 1 AS times,
           CASE WHEN kind = 'message_recovered' AND jsonb_typeof(detail -> 'seconds') = 'number'
                THEN (detail -> 'seconds')::double precision END AS seconds
    FROM wa_sessions.event WHERE kind <> 'history_pruned'
    UNION ALL
    SELECT phone_id, total.key, (total.value ->> 0)::bigint, (total.value ->> 1)::double precision
    FROM wa_sessions.event, jsonb_each(detail -> 'totals') AS total WHERE kind = 'history_pruned'
) AS counted
GROUP BY phone_id, kind;
