global-incdirs-y += include
srcs-y += nautilus_state.c
cppflags-$(NAUTILUS_RPMB) += -DNAUTILUS_STATE_ON_RPMB
