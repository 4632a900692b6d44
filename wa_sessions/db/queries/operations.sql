-- name: new_operation
INSERT INTO wa_sessions.operation
    (id, phone_id, organization_id, number, action, reason, actor, status_before, phone_jid_before)
VALUES (%(id)s, %(phone_id)s, %(organization_id)s, %(number)s, %(action)s, %(reason)s, %(actor)s, %(status)s, %(phone_jid)s)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: operation
SELECT * FROM wa_sessions.operation WHERE id = %(id)s;

-- name: operation_locked
SELECT * FROM wa_sessions.operation WHERE id = %(id)s FOR UPDATE;

-- name: operations
SELECT * FROM wa_sessions.operation WHERE phone_id = %(phone_id)s ORDER BY at DESC, id LIMIT %(limit)s;

-- name: discard
DELETE FROM wa_sessions.operation WHERE id = %(id)s AND keys = 0;

-- name: restored
UPDATE wa_sessions.operation SET restored_at = now(), restored_by = %(actor)s WHERE id = %(id)s;
