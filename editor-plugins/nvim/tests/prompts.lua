--- Host keys and passphrases: asked before anything secret is sent, and only then.

return function(T)
  local prompt = require('bssh.prompt')

  --- With somebody to ask; what was asked.
  local function asked(answers, act)
    local seen, ui = {}, prompt.ui
    require('bssh.core').restart()
    prompt.always = true
    prompt.ui = {
      choose = function(text) seen[#seen + 1] = text; return answers.choose end,
      visible = function(label) seen[#seen + 1] = label; return answers.text end,
      hidden = function(label) seen[#seen + 1] = label; return answers.text end,
    }
    local ok, why = xpcall(act, debug.traceback)
    prompt.always, prompt.ui = false, ui
    require('bssh.core').restart()
    if not ok then error(why, 0) end
    return seen
  end

  local known = T.lab .. '/known_asked'

  return {
    { 'an unknown host key is shown; cancel connects to nothing', function()
      os.remove(known)
      local seen = asked({ choose = 3 }, function()
        local run = T.run('asks', 'echo in')
        T.matches(T.text(run.buffer), '==> ✗ asks')
        T.equal(run.nodes[1].output, {})
      end)
      T.matches(seen[1], 'asks: the host key of .*127.0.0.6.* is not known.\nssh%-ed25519 key, fingerprint SHA256:')
      T.equal(vim.fn.filereadable(known), 0)
    end },
    { 'trust is written down, once is not', function()
      asked({ choose = 1 }, function() T.equal(T.run('asks', 'echo in').nodes[1].output, { 'in\n' }) end)
      T.equal(vim.fn.filereadable(known), 0)
      asked({ choose = 2 }, function() T.equal(T.run('asks', 'echo in').nodes[1].output, { 'in\n' }) end)
      T.matches(T.read(known), '127.0.0.6')
      local seen = asked({}, function() T.equal(T.run('asks', 'echo in').nodes[1].output, { 'in\n' }) end)
      T.equal(seen, {})
    end },
    { 'a passphrase opens an identity and is in no log', function()
      local seen = asked({ text = 'canary-phrase' }, function()
        T.equal(T.run('keyed', 'echo in').nodes[1].output, { 'in\n' })
      end)
      T.equal(#seen, 1)
      T.matches(seen[1], 'locked_key')
      T.equal(table.concat(require('bssh.log').lines(), '\n'):find('canary'), nil)
    end },
    { 'a person may take longer than a file operation', function()
      local options = require('bssh.options').get()
      local limit = options.timeout
      options.timeout = 4000
      asked({ text = 'canary-phrase' }, function()
        local hidden = prompt.ui.hidden
        prompt.ui.hidden = function(label)
          vim.wait(6000)
          return hidden(label)
        end
        local path = T.write('late.txt', 'late\n')
        vim.cmd('edit bssh://keyed' .. path)
        T.equal(T.text(), 'late')
      end)
      options.timeout = limit
    end },
    { 'nobody to ask: the node fails with what is needed', function()
      require('bssh.core').restart()
      local run = T.run('keyed', 'echo in')
      T.matches(T.text(run.buffer), '==> ✗ keyed %(1%): %[auth%]')
    end },
  }
end
