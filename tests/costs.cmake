# The longest tests, by CPU seconds in the dev build: they start first, so that no processor waits for the last one. A test that is not
# here runs behind them; the numbers need to be right only roughly.
set(PARE_COSTS
    cli.training 15 cli.targets 15 text.train_bpe 12 report.pictures 11 cli.help 8 cli.study 6 cli.slice 6 cli.bad_input 6 compress.slice 6
    compress.invariants 5 cli.model 5 text.pretokenize 5 text.dataset 5 tune.own_format 5 cli.tokenizer 4 cli.low_rank 4
    text.dataset_bad 4 model.forward 4 model.low_rank 4 compress.low_rank 4 text.tokenizer 4 tune.steps 4 compress.allocate 3
    cli.cache 3 cli.export 3 report.report 3 cli.memory 3)

# Sets COST of the directory's test `name`.
function(pare_test_cost name)
    list(FIND PARE_COSTS ${name} at)
    if(at GREATER_EQUAL 0)
        math(EXPR at "${at} + 1")
        list(GET PARE_COSTS ${at} cost)
        set_tests_properties(${name} PROPERTIES COST ${cost})
    endif()
endfunction()
