# The longest tests, by CPU seconds in the dev build: they start first, so that no processor waits for the last one. A test that is not
# here runs behind them; the numbers need to be right only roughly.
set(PARE_COSTS
    compress.invariants 40 cli.training 25 cli.targets 20 text.train_bpe 13 cli.study 10 report.pictures 10 cli.slice 8 cli.help 7
    cli.bad_input 7 cli.model 6 compress.slice 6 tune.own_format 5 text.pretokenize 5 text.dataset 5 cli.tokenizer 5 cli.low_rank 4
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
