-- name: load
SELECT * FROM wa_sessions.health WHERE %(phone_id)s::int IS NULL OR phone_id = %(phone_id)s;

-- name: save
INSERT INTO wa_sessions.health
    (phone_id, organization_id, bad_mac_errors, bad_decrypt_errors, counted_senders, last_error_at, last_error_kind,
     messages_recovered, messages_lost, state, state_detail, state_since, retry_at, closing, max_bad_mac, max_bad_decrypt,
     version, updated_at)
VALUES
    (%(phone_id)s, %(organization_id)s, %(bad_mac_errors)s, %(bad_decrypt_errors)s, %(counted_senders)s,
     %(last_error_at)s, %(last_error_kind)s, %(messages_recovered)s, %(messages_lost)s, %(state)s, %(state_detail)s,
     %(state_since)s, %(retry_at)s, %(closing)s, %(max_bad_mac)s, %(max_bad_decrypt)s, %(version)s,
     clock_timestamp())
ON CONFLICT (phone_id) DO UPDATE SET
    organization_id = excluded.organization_id,
    bad_mac_errors = excluded.bad_mac_errors,
    bad_decrypt_errors = excluded.bad_decrypt_errors,
    counted_senders = excluded.counted_senders,
    last_error_at = excluded.last_error_at,
    last_error_kind = excluded.last_error_kind,
    messages_recovered = excluded.messages_recovered,
    messages_lost = excluded.messages_lost,
    state = excluded.state,
    state_detail = excluded.state_detail,
    state_since = excluded.state_since,
    retry_at = excluded.retry_at,
    closing = excluded.closing,
    max_bad_mac = excluded.max_bad_mac,
    max_bad_decrypt = excluded.max_bad_decrypt,
    version = excluded.version,
    updated_at = excluded.updated_at;

-- name: pending_messages
SELECT * FROM wa_sessions.message WHERE phone_id = %(phone_id)s AND outcome IS NULL ORDER BY first_failed_at, message_id;

-- name: remembered_messages
SELECT * FROM wa_sessions.message
WHERE phone_id = %(phone_id)s AND (outcome IS NULL OR ended_at > now() - interval '1 day')
ORDER BY first_failed_at, message_id;

-- name: pending_counts
SELECT phone_id, count(*) AS pending FROM wa_sessions.message WHERE outcome IS NULL GROUP BY phone_id;

-- name: save_message
INSERT INTO wa_sessions.message
    (phone_id, message_id, sender, chat, is_group, cause, encryption, connection, copies, counted, sender_worked,
     session_mark, first_failed_at, last_failed_at, ended_at, outcome)
VALUES
    (%(phone_id)s, %(message_id)s, %(sender)s, %(chat)s, %(is_group)s, %(cause)s, %(encryption)s, %(connection)s,
     %(copies)s, %(counted)s, %(sender_worked)s, %(session_mark)s, %(first_failed_at)s, %(last_failed_at)s,
     %(ended_at)s, %(outcome)s)
ON CONFLICT (phone_id, message_id) DO UPDATE SET
    sender = excluded.sender,
    chat = excluded.chat,
    is_group = excluded.is_group,
    cause = excluded.cause,
    encryption = excluded.encryption,
    connection = excluded.connection,
    copies = excluded.copies,
    counted = excluded.counted,
    sender_worked = excluded.sender_worked,
    session_mark = excluded.session_mark,
    first_failed_at = excluded.first_failed_at,
    last_failed_at = excluded.last_failed_at,
    ended_at = excluded.ended_at,
    outcome = excluded.outcome;

-- name: record_event
INSERT INTO wa_sessions.event (at, phone_id, organization_id, kind, detail, operation_id, worker_id)
VALUES (coalesce(%(at)s, now()), %(phone_id)s, %(organization_id)s, %(kind)s, %(detail)s, %(operation_id)s,
        %(worker_id)s)
RETURNING id;

-- name: statuses_given
SELECT phone_id, detail ->> 'status' AS status FROM (
    SELECT DISTINCT ON (phone_id) phone_id, detail FROM wa_sessions.event
    WHERE phone_id = ANY(%(phones)s) AND kind IN ('force_closed', 'status_reset')
    ORDER BY phone_id, id DESC
) AS last
WHERE (detail ->> 'node_runs')::boolean;

-- name: closed_in_logs
SELECT log_watch.phone_id, last.closed_at AS at
FROM wa_sessions.log_watch CROSS JOIN LATERAL (
    SELECT max(at) FILTER (
               WHERE kind IN ('session_closed', 'backend_closed') AND detail ->> 'source' = 'logs'
           ) AS closed_at,
           max(at) FILTER (WHERE kind IN ('error_counted', 'counter_reset')) AS alive_at
    FROM (
        SELECT at, kind, detail FROM wa_sessions.event
        WHERE event.phone_id = log_watch.phone_id ORDER BY id DESC LIMIT 20
    ) AS newest
) AS last
WHERE (%(phone_id)s::int IS NULL OR log_watch.phone_id = %(phone_id)s)
  AND last.closed_at IS NOT NULL
  AND (last.alive_at IS NULL OR last.alive_at <= last.closed_at + interval '5 s');

-- name: forced_closes
SELECT health.phone_id, last.at, last.actor, last.reason
FROM wa_sessions.health CROSS JOIN LATERAL (
    SELECT at, detail ->> 'actor' AS actor, detail ->> 'reason' AS reason
    FROM (
        SELECT id, at, kind, detail FROM wa_sessions.event
        WHERE event.phone_id = health.phone_id ORDER BY id DESC LIMIT 50
    ) AS newest
    WHERE kind = 'force_closed' ORDER BY id DESC LIMIT 1
) AS last
WHERE health.state = 'force_closed' AND (%(phone_id)s::int IS NULL OR health.phone_id = %(phone_id)s);

-- name: last_events
SELECT * FROM (
    SELECT * FROM wa_sessions.event WHERE phone_id = %(phone_id)s ORDER BY id DESC LIMIT %(limit)s
) AS newest ORDER BY id;
