// A stand-in for a Node backend: any number of real Baileys clients in one process, driven by JSON lines.
//
//   node client.mjs 6|7
//
// The protocol is that of tests/standin.py: a command on stdin has `do`, `n` and `client`; its answer on stdout has the
// same `n` and a `result` or an `error`; `{"client": …, "event": …}` and `{"log": …, "level": …}` come in between.
// A client with an `organization` and a `number` keeps its auth rows in the backend's table, in whichever shape the
// database of DATABASE_URL has it, and its phone's row up to date; any other client keeps them in memory.
import { randomUUID } from 'node:crypto'
import readline from 'node:readline'
import { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import pino from 'pino'

const QUIET_MS = 100 // a socket that has ended goes on writing for as long as it works on messages
const RECONNECT_MS = 200
const LOGGED_OUT = 401
const REPLACED = 440
const RESTART_REQUIRED = 515
const { DATABASE_URL, WA_SESSIONS_EMULATOR_NOISE_ROOT, WA_SESSIONS_EMULATOR_WEBSOCKET } = process.env

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`)
for (const level of ['log', 'info', 'warn', 'error']) {
  // Only the first argument: libsignal prints whole sessions, with their private keys.
  console[level] = (first) => tell({ log: String(first).slice(0, 300), level: `console.${level}` })
}
process.on('unhandledRejection', (error) => tell({ log: String(error?.stack ?? error), level: 'unhandled' }))

const library = `baileys${process.argv[2]}`
const baileys = await import(library)
const { WA_CERT_DETAILS } = await import(`${library}/lib/Defaults/index.js`)
WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(WA_SESSIONS_EMULATOR_NOISE_ROOT, 'hex') // 7 checks the chain up to it
const { BufferJSON, initAuthCreds, jidDecode, makeCacheableSignalKeyStore, makeWASocket, proto } = baileys

const logger = pino(
  { level: 'info' },
  new Writable({
    write(line, _encoding, done) {
      const { level, msg, err, error, trace } = JSON.parse(line)
      tell({ log: msg, level, why: String(err?.stack ?? error ?? trace ?? '').slice(0, 500) || undefined })
      done()
    },
  }),
)
const pool = DATABASE_URL ? new pg.Pool({ connectionString: DATABASE_URL, max: 4 }) : undefined
const table = pool && (await findTable())

async function findTable() {
  const { rows } = await pool.query(
    `SELECT table_name AS name, data_type = 'bytea' AS old FROM information_schema.columns
     WHERE table_name IN ('baileys_auth', 'BaileysAuth') AND column_name = 'value'`,
  )
  return rows[0]
}

/** Auth rows as the backend keeps them, base64 in a text column or (older) in one of bytes. */
class Rows {
  #writes = 0
  #pending = new Set()

  constructor(organization, number) {
    this.owner = [organization, number]
  }

  async get(key) {
    const { rows } = await pool.query(
      `SELECT "value", "type" FROM "${table.name}" WHERE "organizationId" = $1 AND "phoneJid" = $2 AND "key" = $3`,
      [...this.owner, key],
    )
    if (rows.length === 0) return undefined
    const data = Buffer.from(rows[0].value.toString(), 'base64')
    return rows[0].type === 'buffer' ? data : JSON.parse(data, BufferJSON.reviver)
  }

  set(key, value) {
    if (!value) {
      const where = `"organizationId" = $1 AND "phoneJid" = $2 AND "key" = $3`
      return this.run(`DELETE FROM "${table.name}" WHERE ${where}`, [...this.owner, key])
    }
    const plain = value instanceof Uint8Array
    const data = plain ? Buffer.from(value) : Buffer.from(JSON.stringify(value, BufferJSON.replacer))
    const text = data.toString('base64')
    return this.run(
      `INSERT INTO "${table.name}" ("organizationId", "phoneJid", "key", "value", "type"${table.old ? ', "id"' : ''})
       VALUES ($1, $2, $3, $4, $5${table.old ? ', $6' : ''})
       ON CONFLICT ("organizationId", "phoneJid", "key")
       DO UPDATE SET "value" = excluded."value", "type" = excluded."type"`,
      [
        ...this.owner,
        key,
        table.old ? Buffer.from(text) : text,
        plain ? 'buffer' : 'base64_json',
        ...(table.old ? [randomUUID()] : []),
      ],
    )
  }

  /** What the backend notes of the phone itself. */
  note({ status, qr = null, jid = null }) {
    return this.run(
      `UPDATE "OrganizationPhone" SET "status" = $3, "qrCode" = $4, "phoneJid" = coalesce($5, "phoneJid"),
         "lastConnectedAt" = CASE WHEN $3 = 'connected' THEN now() AT TIME ZONE 'utc' ELSE "lastConnectedAt" END,
         "updatedAt" = now() AT TIME ZONE 'utc'
       WHERE "organizationId" = $1 AND split_part(split_part("phoneJid", '@', 1), ':', 1) = $2`,
      [...this.owner, status, qr, jid],
    )
  }

  async run(statement, values) {
    const write = pool.query(statement, values)
    this.#writes += 1
    this.#pending.add(write)
    try {
      await write
    } finally {
      this.#pending.delete(write)
    }
  }

  /** Until nothing has been written for a while. */
  async quiet() {
    for (let seen = -1; seen !== this.#writes; await delay(QUIET_MS)) {
      seen = this.#writes
      await Promise.allSettled(this.#pending)
    }
  }
}

/** The same, for clients that are nobody's phone. */
class Memory {
  #rows = new Map()

  get = async (key) => this.#rows.get(key)
  set = async (key, value) => void (value ? this.#rows.set(key, value) : this.#rows.delete(key))
  note = async () => {}
  quiet = async () => {}
}

/** What Baileys wants of a store of Signal keys. */
const signalKeys = (rows) => ({
  async get(type, ids) {
    const found = {}
    for (const id of ids) {
      const value = await rows.get(`${type}-${id}`)
      if (value === undefined) continue
      found[id] = type === 'app-state-sync-key' ? proto.Message.AppStateSyncKeyData.fromObject(value) : value
    }
    return found
  },
  async set(changes) {
    for (const [type, values] of Object.entries(changes)) {
      for (const [id, value] of Object.entries(values)) await rows.set(`${type}-${id}`, value)
    }
  },
})

class Client {
  #sent = new Map()
  #saving = Promise.resolve()

  constructor(name, rows) {
    Object.assign(this, { name, rows })
  }

  tell = (event, more) => tell({ client: this.name, event, ...more })

  async connect() {
    this.ended = false
    const creds = (await this.rows.get('creds')) ?? initAuthCreds()
    this.socket = makeWASocket({
      appStateMacVerification: { patch: true, snapshot: true },
      auth: { creds, keys: makeCacheableSignalKeyStore(signalKeys(this.rows), logger) },
      getMessage: async ({ id }) => this.#sent.get(id),
      logger,
      qrTimeout: 120_000,
      retryRequestDelayMs: 100,
      shouldSyncHistoryMessage: () => false,
      syncFullHistory: false,
      waWebSocketUrl: WA_SESSIONS_EMULATOR_WEBSOCKET,
    })
    const { ev } = this.socket
    ev.on('creds.update', (update) => {
      Object.assign(creds, update)
      this.#saving = this.#saving.then(() => this.rows.set('creds', creds))
    })
    ev.on('connection.update', (update) => this.#connection(update, creds))
    ev.on('messages.upsert', ({ messages }) => messages.forEach((message) => this.#message(message)))
    ev.on('chats.update', (chats) => chats.forEach((chat) => this.#chat(chat)))
    ev.on('contacts.upsert', (contacts) => contacts.forEach(({ id, name }) => this.tell('Contact', { id, name })))
  }

  async #connection({ connection, qr, lastDisconnect }, creds) {
    if (qr) {
      await this.rows.note({ status: 'pending', qr })
      this.tell('QR', { code: qr })
    }
    if (connection === 'open') {
      await this.rows.note({ status: 'connected', jid: creds.me.id })
      this.tell('Connected')
    }
    if (connection === 'close') {
      const code = lastDisconnect?.error?.output?.statusCode
      await this.#saving
      if (code === RESTART_REQUIRED) return this.connect()
      await this.rows.note({ status: code === LOGGED_OUT ? 'logged_out' : 'disconnected' })
      this.tell('Disconnected', { code, why: lastDisconnect?.error?.message })
      if (this.ended || code === LOGGED_OUT || code === REPLACED) return undefined
      await delay(RECONNECT_MS)
      if (!this.ended) return this.connect()
    }
    return undefined
  }

  #message({ key, message, messageStubParameters }) {
    if (key.fromMe && this.#sent.has(key.id)) return
    const sender = jidDecode(key.participant || key.remoteJid)?.user
    const about = { id: key.id, chat: key.remoteJid, sender, own: Boolean(key.fromMe) }
    if (!message) {
      this.tell('UndecryptableMessage', { ...about, why: messageStubParameters })
    } else if (!message.protocolMessage) {
      this.tell('Message', { ...about, text: message.conversation || message.extendedTextMessage?.text || '' })
    }
  }

  #chat(chat) {
    const { id, archived, muteEndTime, pinned } = chat
    if ('muteEndTime' in chat || 'archived' in chat || 'pinned' in chat) {
      const mutedUntil = muteEndTime == null ? muteEndTime : Number(muteEndTime)
      this.tell('Chat', { id, archived, mutedUntil, pinned: pinned == null ? pinned : Number(pinned) })
    }
  }

  async send(jid, text) {
    const messageId = baileys.generateMessageIDV2(this.socket.user?.id)
    this.#sent.set(messageId, undefined)
    const { message } = await this.socket.sendMessage(jid, { text }, { messageId })
    this.#sent.set(messageId, message)
    return messageId
  }

  async end() {
    this.ended = true
    await this.socket.end(undefined)
    await this.#saving
    await this.rows.quiet()
  }
}

const clients = new Map()
const commands = {
  async add({ client: name, number, organization }) {
    const known = clients.get(name)
    const rows = organization ? new Rows(organization, number) : (known?.rows ?? new Memory())
    const client = known ?? new Client(name, rows)
    clients.set(name, client)
    await client.connect()
  },
  send: ({ client, to, server = 's.whatsapp.net', text }) => clients.get(client).send(`${to}@${server}`, text),
  modify: ({ client, jid, change }) => clients.get(client).socket.chatModify(change, jid),
  contact: ({ client, jid, name }) => clients.get(client).socket.addOrEditContact(jid, { fullName: name }),
  forget: ({ client, jid }) => clients.get(client).socket.removeContact(jid),
  resync: ({ client, names }) => clients.get(client).socket.resyncAppState(names, false),
  renew: ({ client, jid }) => clients.get(client).socket.assertSessions([jid], true),
  end: ({ client }) => clients.get(client).end(),
}

async function obey({ do: command, n, ...more }) {
  try {
    tell({ n, result: (await commands[command](more)) ?? null })
  } catch (error) {
    tell({ n, error: String(error?.stack ?? error).slice(0, 500) })
  }
}

tell({ ready: process.pid })
readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => obey(JSON.parse(line)))
  .on('close', () => process.exit(0))
