module oneaccess

go 1.19
