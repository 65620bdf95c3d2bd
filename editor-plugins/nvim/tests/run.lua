--- The plugin's tests, in a headless Neovim against a real core and a real sshd.
---
--- `LAB` is a directory of `fixture/nodes.sh`, `BSSH` the executable, `NODES` the script. Prints
--- a line per test; the exit status says whether all passed. `ONLY=word` chooses tests.

local root = vim.fn.fnamemodify(debug.getinfo(1, 'S').source:sub(2), ':p:h:h')
vim.opt.runtimepath:prepend(root)
vim.cmd('filetype on | syntax on')
vim.cmd('runtime plugin/bssh.lua')

local T = { lab = assert(os.getenv('LAB'), 'LAB'), nodes = assert(os.getenv('NODES'), 'NODES') }

require('bssh').setup({
  core = assert(os.getenv('BSSH'), 'BSSH'), strict = true, timeout = 20000,
  config = T.lab .. '/config.yaml', ssh_config = T.lab .. '/ssh_config',
})

--- Nothing that works takes this long, also on a machine that is busy.
local DEADLINE = 30000

function T.equal(found, wanted, what)
  if not vim.deep_equal(found, wanted) then
    error(('%s\n  found  %s\n  wanted %s'):format(what or 'not equal', vim.inspect(found), vim.inspect(wanted)), 2)
  end
end

function T.matches(text, pattern)
  if not tostring(text):find(pattern) then
    error(('no %q in:\n%s'):format(pattern, tostring(text)), 2)
  end
end

function T.wait(what, condition)
  if not vim.wait(DEADLINE, condition, 10) then
    error('waited in vain: ' .. what, 2)
  end
end

--- What a command has put into the messages.
function T.messages(act)
  vim.cmd('messages clear')
  act()
  return vim.api.nvim_exec('messages', true)
end

function T.text(buffer)
  return table.concat(vim.api.nvim_buf_get_lines(buffer or 0, 0, -1, false), '\n')
end

--- A file of all nodes, on the local disk.
function T.write(name, content)
  local path = T.lab .. '/root/' .. name
  vim.fn.mkdir(vim.fn.fnamemodify(path, ':h'), 'p')
  local file = assert(io.open(path, 'wb'))
  file:write(content)
  file:close()
  return path
end

function T.read(path)
  local file = assert(io.open(path, 'rb'))
  local content = file:read('*a')
  file:close()
  return content
end

--- A run to its end; the run.
function T.run(targets, command)
  local run = require('bssh').run(targets, command)
  T.wait('the run ends', function() return run.done end)
  -- The last drawing asks the core to fold names first.
  T.wait('the buffer says so', function()
    local text = T.text(run.buffer)
    return text:find(': failed:') or text:find(' failed\n') and not text:find(', %d+ running')
  end)
  return run
end

local passed, failed, only = 0, 0, os.getenv('ONLY')
for _, file in ipairs({ 'frames', 'runs', 'files', 'terminals', 'prompts', 'rest' }) do
  local tests = dofile(root .. '/tests/' .. file .. '.lua')(T)
  for _, test in ipairs(tests) do
    local name = file .. ': ' .. test[1]
    if not only or name:find(only, 1, true) then
      local begun = vim.loop.hrtime()
      local ok, why = xpcall(test[2], debug.traceback)
      passed, failed = passed + (ok and 1 or 0), failed + (ok and 0 or 1)
      local ms = math.floor((vim.loop.hrtime() - begun) / 1e6)
      io.stdout:write(('\n%s %s (%d ms)\n'):format(ok and 'ok  ' or 'FAIL', name, ms))
      if not ok then
        io.stdout:write(tostring(why) .. '\n')
        io.stdout:write('  ' .. table.concat(vim.list_slice(require('bssh.log').lines(), #require('bssh.log').lines() - 15), '\n  ') .. '\n')
      end
      pcall(vim.cmd, 'silent! %bwipeout!')
      pcall(vim.cmd, 'silent! only')
    end
  end
end
io.stdout:write(('%d passed, %d failed\n'):format(passed, failed))
require('bssh.core').stop()
vim.cmd(failed == 0 and passed > 0 and 'qall!' or 'cquit!')
