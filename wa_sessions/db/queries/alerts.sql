-- name: leave
INSERT INTO wa_sessions.alert (phone_id, kind, payload)
SELECT %(phone_id)s, %(kind)s, %(payload)s
WHERE %(repeatable)s OR NOT EXISTS (
    SELECT FROM (
        SELECT at, kind, payload FROM wa_sessions.alert
        WHERE phone_id = %(phone_id)s AND (kind = 'handler') = (%(kind)s = 'handler')
        ORDER BY id DESC LIMIT 1
    ) AS newest
    WHERE newest.kind = %(kind)s AND (newest.kind <> 'handler' OR newest.at > now() - interval '1 hour')
      AND newest.payload ->> 'errorType' IS NOT DISTINCT FROM %(error_type)s::text
)
RETURNING id;

-- name: leave_if_open
INSERT INTO wa_sessions.alert (phone_id, kind, payload)
SELECT %(phone_id)s, %(kind)s, %(payload)s
FROM (
    SELECT kind FROM wa_sessions.alert
    WHERE phone_id = %(phone_id)s AND kind NOT IN ('handler', 'handler_dead') ORDER BY id DESC LIMIT 1
) AS newest
WHERE newest.kind <> %(kind)s
RETURNING id;

-- name: register
INSERT INTO wa_sessions.alert_target (name) VALUES (%(target)s) ON CONFLICT (name) DO NOTHING;

-- name: claim
UPDATE wa_sessions.alert_target AS claimed
SET claimed_by = %(holder)s, claimed_until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE claimed.name = (
    SELECT target.name FROM wa_sessions.alert_target AS target
    WHERE target.name = %(target)s
      AND (target.claimed_until IS NULL OR target.claimed_until <= clock_timestamp())
      AND (target.next_at IS NULL OR target.next_at <= clock_timestamp())
      AND (
          EXISTS (
              SELECT FROM wa_sessions.alert_message AS message
              WHERE message.target = target.name AND message.sent_at IS NULL AND message.given_up_at IS NULL
          )
          OR EXISTS (
              SELECT FROM wa_sessions.alert
              WHERE alert.at >= target.since AND alert.at <= clock_timestamp() - make_interval(secs => %(gather)s)
                AND NOT EXISTS (
                    SELECT FROM wa_sessions.alert_delivery AS delivery
                    WHERE delivery.alert_id = alert.id AND delivery.target = target.name
                )
          )
      )
    FOR UPDATE SKIP LOCKED
)
RETURNING claimed.failures;

-- name: make_message
INSERT INTO wa_sessions.alert_message (target, key) VALUES (%(target)s, %(key)s)
ON CONFLICT (target) WHERE sent_at IS NULL AND given_up_at IS NULL DO NOTHING
RETURNING id;

-- name: fill_message
INSERT INTO wa_sessions.alert_delivery (alert_id, target, message_id)
SELECT alert.id, target.name, %(message_id)s
FROM wa_sessions.alert_target AS target JOIN wa_sessions.alert ON alert.at >= target.since
WHERE target.name = %(target)s
  AND NOT EXISTS (
      SELECT FROM wa_sessions.alert_delivery AS delivery
      WHERE delivery.alert_id = alert.id AND delivery.target = target.name
  )
ORDER BY alert.id LIMIT %(limit)s;

-- name: advance
UPDATE wa_sessions.alert_target SET since = greatest(since, now() - interval '1 hour') WHERE name = %(target)s;

-- name: open_message
SELECT id, key, attempts FROM wa_sessions.alert_message
WHERE target = %(target)s AND sent_at IS NULL AND given_up_at IS NULL;

-- name: contents
SELECT alert.id, alert.payload
FROM wa_sessions.alert_delivery AS delivery JOIN wa_sessions.alert ON alert.id = delivery.alert_id
WHERE delivery.message_id = %(message_id)s ORDER BY alert.id;

-- name: release
UPDATE wa_sessions.alert_target
SET claimed_by = NULL, claimed_until = NULL, next_at = clock_timestamp() + make_interval(secs => %(pause)s),
    failures = CASE WHEN %(error)s::text IS NULL THEN 0 ELSE failures + 1 END, last_error = %(error)s
WHERE name = %(target)s AND claimed_by = %(holder)s;

-- name: sent
UPDATE wa_sessions.alert_message SET sent_at = clock_timestamp(), attempts = attempts + 1, error = NULL
WHERE id = %(message_id)s AND sent_at IS NULL;

-- name: failed
UPDATE wa_sessions.alert_message
SET attempts = attempts + 1, error = %(error)s,
    given_up_at = CASE WHEN %(give_up)s THEN clock_timestamp() END
WHERE id = %(message_id)s AND sent_at IS NULL;

-- name: newest
SELECT id, at, phone_id, kind, payload FROM wa_sessions.alert
WHERE (%(phone_id)s::int IS NULL OR phone_id = %(phone_id)s)
  AND (%(organization_id)s::int IS NULL OR (payload ->> 'organizationId')::int = %(organization_id)s)
ORDER BY id DESC LIMIT %(limit)s;

-- name: deliveries
SELECT delivery.alert_id, message.target, message.attempts, message.sent_at, message.given_up_at, message.error
FROM wa_sessions.alert_delivery AS delivery JOIN wa_sessions.alert_message AS message ON message.id = delivery.message_id
WHERE delivery.alert_id = ANY (%(alert_ids)s) ORDER BY delivery.alert_id, message.target;

-- name: targets
SELECT target.name, target.failures, target.next_at, target.last_error,
       (
           SELECT count(*) FROM wa_sessions.alert
           WHERE alert.at >= target.since AND NOT EXISTS (
               SELECT FROM wa_sessions.alert_delivery AS delivery
               WHERE delivery.alert_id = alert.id AND delivery.target = target.name
           )
       ) + (
           SELECT count(*)
           FROM wa_sessions.alert_delivery AS delivery
           JOIN wa_sessions.alert_message AS message ON message.id = delivery.message_id
           WHERE message.target = target.name AND message.sent_at IS NULL AND message.given_up_at IS NULL
       ) AS waiting
FROM wa_sessions.alert_target AS target ORDER BY target.name;

-- name: forget_old
DELETE FROM wa_sessions.alert WHERE at < now() - make_interval(secs => %(age)s);

-- name: forget_old_messages
DELETE FROM wa_sessions.alert_message
WHERE made_at < now() - make_interval(secs => %(age)s)
  AND NOT EXISTS (SELECT FROM wa_sessions.alert_delivery AS delivery WHERE delivery.message_id = alert_message.id);
