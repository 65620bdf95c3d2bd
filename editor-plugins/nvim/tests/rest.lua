--- Forwards, completion, health, status line, a core that is missing or dies.

return function(T)
  local core = require('bssh.core')

  local function fetch(port)
    return vim.fn.system({ 'python3', '-c', 'import socket,sys; s=socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10); sys.stdout.write(s.recv(100).decode())', tostring(port) })
  end

  return {
    { 'a forward reaches the other end, is listed and closed', function()
      local config = T.read(T.lab .. '/ssh_config')
      local sshd = config:match('\n  Port (%d+)\n  IdentitiesOnly')
      local said = T.messages(function() vim.cmd('BsshForward alpha -L 0:127.0.0.1:' .. sshd) end)
      local id, port = said:match('forward (%d+): .* bound to %S-(%d+)\n?$')
      T.matches(fetch(port), '^SSH%-2.0')
      T.matches(T.messages(function() vim.cmd('BsshForward') end), id .. '  local .* on alpha')
      T.matches(require('bssh').statusline(), '⇄1')
      vim.cmd('BsshForward! ' .. id)
      T.matches(T.messages(function() vim.cmd('BsshForward') end), 'no forwards')
      T.matches(T.messages(function() vim.cmd('BsshForward alpha -X 1') end), 'usage')
    end },
    { 'names are completed, also behind an operator', function()
      local complete = require('bssh.nodes').complete_first
      T.equal(complete('al', 'BsshRun al'), { 'alpha' })
      T.equal(complete('@', 'BsshRun @'), { '@lab', '@mixed' })
      T.equal(complete('@lab!ga', 'BsshRun @lab!ga'), { '@lab!gamma' })
      T.equal(complete('ke', 'BsshTerm ke'), { 'keyed' })
      T.equal(complete('', 'BsshRun alpha '), {})
      T.equal(vim.fn.getcompletion('BsshRun bet', 'cmdline'), { 'beta' })
    end },
    { 'checkhealth finds everything in order', function()
      vim.cmd('checkhealth bssh')
      local text = T.text()
      T.matches(text, 'protocol 1%.')
      T.matches(text, 'no problems')
      T.equal(text:find('ERROR'), nil, text)
    end },
    { 'a missing core says what to do', function()
      core.restart()
      local options = require('bssh.options').get()
      local path = options.core
      options.core = '/nowhere/bssh'
      local text = T.messages(function() vim.cmd('edit bssh://alpha/etc/hosts') end)
      options.core = path
      T.matches(text, 'no executable /nowhere/bssh; see the option core')
    end },
    { 'a core that is none, and one that dies again and again', function()
      core.restart()
      local options = require('bssh.options').get()
      local path = options.core
      options.core = '/bin/false'
      local _, first = core.call('group/list', {})
      T.matches(first.message, 'the core does not greet')
      for _ = 1, 3 do _, first = core.call('group/list', {}) end
      options.core = path
      T.matches(first.message, 'the core has ended 3 times')
      core.restart()
      T.equal(core.call('group/list', {}).groups[1].name, 'lab')
    end },
    { 'a run whose core dies says so', function()
      local run = require('bssh').run('alpha', 'echo up; sleep 100')
      T.wait('it runs', function() return run.nodes[1] and #run.nodes[1].output > 0 end)
      T.matches(require('bssh').statusline(), '0/1')
      core.current():kill()
      T.wait('it is over', function() return run.done end)
      T.matches(run.failed, 'the core was ended by signal 9')
      core.restart()
    end },
    { 'options: an unknown one is refused', function()
      local ok, why = pcall(require('bssh').setup, { tiemout = 1 })
      T.equal(ok, false)
      T.matches(why, 'no option "tiemout"')
    end },
    { 'help has a tag for every command', function()
      local root = vim.fn.fnamemodify(debug.getinfo(1, 'S').source:sub(2), ':p:h:h')
      local text = T.read(root .. '/doc/bssh.txt')
      for name in T.read(root .. '/plugin/bssh.lua'):gmatch("command%('(%w+)'") do
        T.matches(text, '%*:' .. name .. '%*')
      end
      for name in pairs({ core = 1, config = 1, ssh_config = 1, timeout = 1, max_output = 1, fanout = 1 }) do
        T.matches(text, '%*bssh%-' .. name .. '%*')
      end
    end },
  }
end
