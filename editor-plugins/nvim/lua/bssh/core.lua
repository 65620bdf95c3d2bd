--- The one core of this editor: found, started when first needed, greeted, started again.
---
--- Everything that wants something from a node goes through `request` or `call` here. Who is
--- interested in events says so with `listen`. `prompt` answers the core's questions.

local link = require('bssh.link')
local log = require('bssh.log')
local options = require('bssh.options')

local M = {}

--- A core that dies again and again is not started for ever: so often, within that many seconds.
local STARTS, WITHIN = 3, 180
--- How long the handshake may take, in milliseconds.
local HANDSHAKE = 20000
--- How long a core may take to end when the editor does, in milliseconds.
local LEAVE = 3000

local current, hello
local starts, listeners = {}, {}

--- Calls `handler(method, params)` for every notification, and `handler('lost', {text=…})` when
--- the core is gone.
function M.listen(handler)
  listeners[#listeners + 1] = handler
end

local function tell(method, params)
  for _, handler in ipairs(listeners) do
    handler(method, params)
  end
end

--- The executable: the option, else `bssh` in PATH. Nil and what to do if there is none.
function M.find()
  local wanted = options.get().core
  local name = wanted or 'bssh'
  local path = vim.fn.exepath(vim.fn.expand(name))
  if path ~= '' then
    return path
  end
  return nil, (wanted and 'no executable ' .. wanted .. '; see the option core' or 'no bssh in PATH; install it, or set the option core')
end

local function too_often()
  local now = os.time()
  starts = vim.tbl_filter(function(at) return now - at < WITHIN end, starts)
  return #starts >= STARTS
end

local function greet(started)
  local has_person = #vim.api.nvim_list_uis() > 0 or require('bssh.prompt').always
  local result, failed = started:call('initialize', {
    protocol = { majors = { 1 }, level = 1 },
    client = { name = 'bssh.nvim', version = options.VERSION, kind = 'editor' },
    capabilities = {
      binaryFrames = true,
      prompts = has_person and { 'hostKey', 'password', 'otp', 'passphrase', 'confirm' } or nil,
    },
    strict = options.get().strict or nil,
  }, HANDSHAKE)
  if not result then
    started:kill()
    return nil, 'the core does not greet: ' .. tostring(failed.message)
  end
  if not result.protocol or result.protocol.major ~= 1 then
    started:kill()
    return nil, 'this core speaks another protocol; this plugin needs major 1'
  end
  started.window = result.limits and result.limits.window or link.WINDOW
  started.max_data = result.limits and result.limits.maxData or 65536
  return result
end

--- The link, started if need be. Nil and a text if there is none.
function M.link()
  if current and not current.closed then
    return current
  end
  if too_often() then
    return nil, 'the core has ended ' .. STARTS .. ' times in ' .. WITHIN .. ' s; see :BsshLog, then :BsshRestart'
  end
  local path, missing = M.find()
  if not path then
    return nil, missing
  end
  local this
  local started, failed = link.start(path, { 'core', '--stdio' }, {
    request = function(...) require('bssh.prompt').ask(...) end,
    notification = tell,
    exit = function(text)
      if current == this then
        current = nil
        tell('lost', { text = text })
      end
    end,
  })
  if not started then
    return nil, failed
  end
  this = started
  starts[#starts + 1] = os.time()
  local greeting, why = greet(started)
  if not greeting then
    return nil, why
  end
  current, hello = started, greeting
  log.write('core ' .. greeting.core.version .. ', pid ' .. greeting.core.pid)
  return current
end

--- Parameters with what the options say about configuration files.
local function with_settings(params)
  local settings = options.settings()
  return settings and vim.tbl_extend('keep', params, { settings = settings }) or params
end

--- Asks; `callback(error, result)`. An error has a `message` in any case.
function M.request(method, params, callback)
  local open, failed = M.link()
  if not open then
    return vim.schedule(function() callback({ message = failed, data = { kind = 'disconnected' } }) end)
  end
  open:request(method, with_settings(params), callback)
end

--- As `request`, for methods that take no settings.
function M.tell(method, params, callback)
  if current and not current.closed then
    current:request(method, params, callback or function() end)
  elseif callback then
    callback({ message = 'the core is gone', data = { kind = 'disconnected' } })
  end
end

--- Asks and waits. Returns the result, or nil and the error.
function M.call(method, params)
  local open, failed = M.link()
  if not open then
    return nil, { message = failed, data = { kind = 'disconnected' } }
  end
  return open:call(method, with_settings(params), options.get().timeout)
end

--- The core that is there, without starting one.
function M.current()
  return current and not current.closed and current or nil
end

--- What the core said when it was greeted.
function M.hello()
  return hello
end

--- Ends the core; the next use starts another, also after too many ends.
function M.restart()
  M.stop()
  starts = {}
end

function M.stop()
  local open = current
  if open then
    open:close(LEAVE)
  end
end

--- An error as people read it: what, where, and what to do.
function M.explain(failed)
  local data = type(failed.data) == 'table' and failed.data or {}
  local function has(value) return value ~= nil and value ~= vim.NIL and value ~= '' end
  local text = log.printable(failed.message or 'unknown error')
  if has(data.hop) then
    text = 'at ' .. log.printable(data.hop) .. ': ' .. text
  end
  if has(data.hint) then
    text = text .. ' (' .. log.printable(data.hint) .. ')'
  end
  return text
end

return M
