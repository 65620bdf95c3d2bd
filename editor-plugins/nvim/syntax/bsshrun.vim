" The buffer of :BsshRun.
if exists('b:current_syntax')
  finish
endif
syntax match bsshCommand '\%1l^\$ .*'
syntax match bsshSummary '\%2l.*'
syntax match bsshOk '^==> ✓.*'
syntax match bsshFailed '^==> ✗.*'
syntax match bsshWaiting '^==> ….*'
syntax match bsshHint '^hint: .*'
highlight default link bsshCommand Statement
highlight default link bsshSummary Comment
highlight default link bsshOk DiffAdd
highlight default link bsshFailed ErrorMsg
highlight default link bsshWaiting WarningMsg
highlight default link bsshHint Comment
let b:current_syntax = 'bsshrun'
