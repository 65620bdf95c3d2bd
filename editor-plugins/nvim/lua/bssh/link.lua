--- The link to a core: its process, requests in both directions, and streams with credit.
---
--- Knows no method but the stream notifications; `core` starts it and says hello. Frames are
--- handled on the main loop, in the order they came, so handlers may call the whole API.

local frames = require('bssh.frames')
local log = require('bssh.log')
local uv = vim.loop

local M = {}
local Link = {}
Link.__index = Link

--- What a stream may send before it is granted more, unless said otherwise.
M.WINDOW = 1024 * 1024

--- Starts `command arguments…`. `on.request(method, params, answer)`,
--- `on.notification(method, params)` and `on.exit(text)` are called on the main loop.
function M.start(command, arguments, on)
  local self = setmetatable({
    on = on, next_id = 1, waiting = {}, receivers = {}, senders = {}, stderr = {},
    stdin = uv.new_pipe(false), stdout = uv.new_pipe(false), errors = uv.new_pipe(false),
    window = M.WINDOW, max_data = 65536, arrived = {}, first = 1, last = 0, questions = 0,
  }, Link)
  local handle, pid = uv.spawn(command, {
    args = arguments, stdio = { self.stdin, self.stdout, self.errors },
  }, vim.schedule_wrap(function(status, signal)
    self:ended(signal ~= 0 and ('the core was ended by signal ' .. signal)
      or ('the core has ended (' .. status .. ')'))
  end))
  if not handle then
    return nil, 'cannot start ' .. command .. ': ' .. tostring(pid)
  end
  self.handle, self.pid = handle, pid
  local decode = frames.decoder()
  local function arrive(item)
    self.last = self.last + 1
    self.arrived[self.last] = item
  end
  self.stdout:read_start(function(failed, bytes)
    if failed or not bytes then
      return
    end
    local broken = decode(bytes, arrive, function(stream, offset, payload)
      arrive({ stream = stream, offset = offset, payload = payload })
    end)
    if broken then
      arrive({ broken = broken })
    end
    if not self.draining then
      self.draining = true
      vim.schedule(function() self:drain() end)
    end
  end)
  self.errors:read_start(vim.schedule_wrap(function(_, bytes)
    if bytes then
      log.write('core: ' .. bytes)
      self.stderr[#self.stderr + 1] = bytes:sub(-2000)
      if #self.stderr > 20 then
        table.remove(self.stderr, 1)
      end
    end
  end))
  return self
end

--- Handles what has arrived, in order. A handler may wait for more: it is handled there.
function Link:drain()
  self.draining = false
  while self.first <= self.last do
    local item = self.arrived[self.first]
    self.arrived[self.first] = nil
    self.first = self.first + 1
    local ok, failed = xpcall(function() self:dispatch(item) end, debug.traceback)
    if not ok then
      log.write('handler: ' .. tostring(failed))
    end
  end
end

function Link:dispatch(item)
  if type(item) == 'table' then
    if item.broken then
      self:ended('the core sent ' .. item.broken)
      return self:kill()
    end
    return self:take(item.stream, item.payload)
  end
  local ok, message = pcall(vim.json.decode, item)
  if not ok or type(message) ~= 'table' then
    return log.write('an unreadable message of ' .. #item .. ' bytes')
  end
  if message.method == nil then
    return self:answered(message)
  end
  log.write('<- ' .. tostring(message.method) .. ' ' .. #item .. ' bytes')
  local params = type(message.params) == 'table' and message.params or {}
  if message.id ~= nil and message.id ~= vim.NIL then
    return self:asked(message.id, message.method, params)
  end
  if not self:stream_event(message.method, params) then
    self.on.notification(message.method, params)
  end
end

function Link:answered(message)
  local waiting = self.waiting[message.id]
  self.waiting[message.id] = nil
  if waiting then
    local failed = message.error
    log.write('<- answer to ' .. waiting.method .. (failed and ': ' .. tostring(failed.message) or ''))
    waiting.callback(failed, message.result)
  end
end

function Link:asked(id, method, params)
  self.questions = self.questions + 1
  local answered = false
  self.on.request(method, params, function(result, failed)
    if answered then
      return
    end
    answered = true
    self.questions = self.questions - 1
    self:send({ jsonrpc = '2.0', id = id, result = result, error = failed })
  end)
end

function Link:send(message)
  if self.closed then
    return
  end
  self.stdin:write(frames.json(vim.json.encode(message)))
end

--- Asks; `callback(error, result)` is called once, also if the link ends. Returns the id.
function Link:request(method, params, callback)
  params = params and next(params) ~= nil and params or vim.empty_dict()
  local id = self.next_id
  self.next_id = id + 1
  if self.closed then
    vim.schedule(function() callback({ code = 1070, message = self.closed, data = { kind = 'disconnected' } }) end)
    return id
  end
  self.waiting[id] = { method = method, callback = callback }
  log.write('-> ' .. method .. ' ' .. log.redact(params))
  self:send({ jsonrpc = '2.0', id = id, method = method, params = params })
  return id
end

function Link:notify(method, params)
  self:send({ jsonrpc = '2.0', method = method, params = params or vim.empty_dict() })
end

--- Asks and waits, at most `limit` milliseconds, not counting what a person needs to answer a
--- question. Returns the result, or nil and the error. Ctrl-C cancels.
function Link:call(method, params, limit)
  local failed, result, done
  local id = self:request(method, params, function(e, r)
    failed, result, done = e, r, true
  end)
  while not done do
    local fine, why = vim.wait(limit, function()
      self:drain()
      return done or self.questions > 0
    end, 5)
    if not fine then
      self:notify('$/cancelRequest', { id = id })
      local text = why == -2 and 'interrupted' or (method .. ' took more than ' .. limit .. ' ms')
      return nil, { code = 1071, message = text, data = { kind = 'timeout' } }
    end
    if not done then
      vim.wait(200, function() return done or self.questions == 0 end, 5)
    end
  end
  return result, failed
end

--- Who takes a stream's bytes: `data(bytes)`, `ended()`, `reset(error)`.
function Link:receive(stream, receiver)
  receiver.window = receiver.window or self.window
  receiver.limit, receiver.taken = receiver.window, 0
  self.receivers[stream] = receiver
end

function Link:take(stream, bytes)
  local receiver = self.receivers[stream]
  if not receiver then
    return
  end
  receiver.taken = receiver.taken + #bytes
  receiver.data(bytes)
  if receiver.limit - receiver.taken <= receiver.window / 2 then
    receiver.limit = receiver.taken + receiver.window
    self:notify('stream/grant', { stream = stream, limit = receiver.limit })
  end
end

--- Notifications about streams; false for any other.
function Link:stream_event(method, params)
  local stream = params.stream
  if method == 'stream/data' then
    self:take(stream, params.text or frames.from_base64(params.data or '') or '')
  elseif method == 'stream/end' or method == 'stream/reset' then
    local receiver = self.receivers[stream]
    self.receivers[stream], self.senders[stream] = nil, nil
    if receiver and method == 'stream/end' and receiver.ended then
      receiver.ended()
    elseif receiver and method == 'stream/reset' and receiver.reset then
      receiver.reset(params.error or {})
    end
  elseif method == 'stream/grant' then
    local sender = self.senders[stream]
    if sender then
      sender.limit = math.max(sender.limit, params.limit or 0)
      self:flush(stream, sender)
    end
  else
    return method == 'stream/gap'
  end
  return true
end

--- Sends on a stream, as far as the core has granted; the rest waits for its grant.
function Link:write(stream, bytes)
  local sender = self.senders[stream]
  if not sender then
    sender = { sent = 0, limit = self.window, queue = '' }
    self.senders[stream] = sender
  end
  sender.queue = sender.queue .. bytes
  self:flush(stream, sender)
end

function Link:flush(stream, sender)
  while #sender.queue > 0 and sender.sent < sender.limit and not self.closed do
    local size = math.min(#sender.queue, sender.limit - sender.sent, self.max_data)
    self.stdin:write(frames.data(stream, sender.sent, sender.queue:sub(1, size)))
    sender.queue, sender.sent = sender.queue:sub(size + 1), sender.sent + size
  end
end

--- The link is over: everybody who waits is told, once.
function Link:ended(text)
  if self.closed then
    return
  end
  local said = vim.trim(table.concat(self.stderr)):match('[^\n]*$')
  self.closed = text .. (said ~= '' and ': ' .. log.printable(said) or '')
  log.write(self.closed)
  for _, pipe in ipairs({ self.stdin, self.stdout, self.errors }) do
    if not pipe:is_closing() then
      pipe:close()
    end
  end
  local failed = { code = 1070, message = self.closed, data = { kind = 'disconnected' } }
  local waiting, receivers = self.waiting, self.receivers
  self.waiting, self.receivers, self.senders = {}, {}, {}
  for _, one in pairs(waiting) do
    pcall(one.callback, failed)
  end
  for _, receiver in pairs(receivers) do
    if receiver.reset then
      pcall(receiver.reset, failed)
    end
  end
  self.on.exit(self.closed)
end

--- Closes the core's stdin: it ends its work and then itself. Waits that long for it.
function Link:close(limit)
  if self.closed then
    return
  end
  self.closing = true
  self.stdin:shutdown()
  if not vim.wait(limit, function() return self.closed ~= nil end, 10) then
    self:kill()
  end
end

function Link:kill()
  if self.handle and self.handle:is_active() then
    self.handle:kill('sigkill')
  end
end

return M
