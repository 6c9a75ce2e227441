module antipode

go 1.26.8
