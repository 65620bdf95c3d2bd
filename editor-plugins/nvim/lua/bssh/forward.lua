--- `:BsshForward`: ssh's -L, -R and -D on a node, as long as this editor's core lives.

local core = require('bssh.core')
local log = require('bssh.log')

local M = {}

local KINDS = { ['-L'] = 'local', ['-R'] = 'remote', ['-D'] = 'dynamic' }

local open = {}

local function show(text, group)
  vim.api.nvim_echo({ { 'bssh: ' .. text, group } }, true, {})
end

core.listen(function(method, params)
  local entry = method == 'event/forward' and open[params.forward]
  if method == 'lost' then
    open = {}
  elseif entry and (params.state == 'closed' or params.state == 'reconnecting') then
    entry.state = params.state
    local cause = type(params.error) == 'string' and ': ' .. log.printable(params.error) or ''
    show(('forward %d on %s: %s%s'):format(params.forward, entry.node, params.state, cause), 'WarningMsg')
    open[params.forward] = params.state ~= 'closed' and entry or nil
  elseif entry and params.state == 'open' then
    entry.state = 'open'
  end
end)

--- Opens a forward. `words`: node, `-L`, `-R` or `-D`, and ssh's own notation.
function M.open(words)
  local node, flag, spec = words[1], words[2], words[3]
  if not KINDS[flag or ''] or not spec or words[4] then
    show('usage: :BsshForward {node} -L|-R|-D {[bind:]port[:host:hostport]}', 'ErrorMsg')
    return nil
  end
  local opened, failed = core.call('forward/open', { nodes = node, kind = KINDS[flag], spec = spec, keep = true })
  if not opened then
    show(core.explain(failed), 'ErrorMsg')
    return nil
  end
  open[opened.forward] = { node = node, kind = KINDS[flag], spec = spec, bound = opened.bound, state = 'open' }
  show(('forward %d: %s %s on %s, bound to %s'):format(opened.forward, flag, spec, node, log.printable(opened.bound)))
  return opened
end

--- Lists what is open, with counters.
function M.list()
  local current = core.current()
  local listed = current and current:call('forward/list', {}, 5000)
  local forwards = listed and listed.forwards or {}
  if #forwards == 0 then
    show('no forwards')
  end
  for _, f in ipairs(forwards) do
    show(('%d  %s %s on %s, bound to %s, %s: %d open, %d bytes in, %d out'):format(f.forward, f.kind, log.printable(f.spec),
      log.printable(f.node), log.printable(f.bound), f.state, f.connections, f.bytesIn, f.bytesOut))
  end
  return forwards
end

--- Closes a forward by its number.
function M.close(number)
  local current = core.current()
  local id = tonumber(number)
  local done, failed
  if current and id then
    done, failed = current:call('forward/close', { forward = id }, 5000)
  end
  if not done then
    return show(failed and core.explain(failed) or 'no forward ' .. tostring(number), 'ErrorMsg')
  end
  open[id] = nil
end

--- Open forwards.
function M.count()
  return vim.tbl_count(open)
end

return M
