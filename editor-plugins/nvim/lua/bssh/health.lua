--- `:checkhealth bssh`.

local M = {}

local health = vim.health or require('health')
local start = health.start or health.report_start
local ok = health.ok or health.report_ok
local warn = health.warn or health.report_warn
local bad = health.error or health.report_error

function M.check()
  local core = require('bssh.core')
  local options = require('bssh.options')
  start('bssh')
  if vim.fn.has('nvim-0.7.2') == 1 then
    ok('Neovim is 0.7.2 or newer')
  else
    bad('Neovim 0.7.2 or newer is needed')
  end
  local path, missing = core.find()
  if not path then
    return bad(missing)
  end
  ok('executable: ' .. path)
  local open, failed = core.link()
  if not open then
    return bad('the core does not start: ' .. failed, { 'try: ' .. path .. ' core --stdio', ':BsshLog has more' })
  end
  local hello = core.hello()
  ok(('core %s, protocol %d.%d, pid %d'):format(hello.core.version, hello.protocol.major, hello.protocol.level, hello.core.pid))
  if hello.core.version ~= options.VERSION then
    warn(('the plugin is of version %s; methods that one of the two lacks are refused by name'):format(options.VERSION))
  end
  local checked, why = core.call('config/check', {})
  if not checked then
    return bad('the configuration cannot be read: ' .. core.explain(why))
  end
  for _, problem in ipairs(checked.problems) do
    local text = ('%s:%d:%d: %s'):format(problem.file, problem.line, problem.column, problem.message)
    local say = problem.severity == 'error' and bad or warn
    say(text, type(problem.hint) == 'string' and { problem.hint } or nil)
  end
  if #checked.problems == 0 then
    ok('configuration: ' .. (#checked.files > 0 and table.concat(checked.files, ', ') or 'no files') .. ', no problems')
  end
  local listed = core.call('group/list', {})
  ok(('%d groups, %d names for completion'):format(#(listed and listed.groups or {}), #require('bssh.nodes').names()))
end

return M
